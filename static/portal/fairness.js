// One pool's fairness live: tiles, rows and charts follow its messages; an explanation opens in a dialog. What a debt step
// measures (satisfied shares, Jain's index, dispersion, what was lent) comes with every fifth message, the rest with each.
(function () {
  "use strict";
  var TP = window.TP, N = TP.numbers, put = TP.put, attr = TP.attr, share = TP.share, mark = TP.mark;
  var CHARTS = ["fairness", "debts", "lending"], GIB = Math.pow(1024, 3), STEP_S = 5, AGAIN_MS = 15000;
  var root, dimension, rows = {}, charts = {}, range = null, last = null, live = null, asked = 0;

  function part(node, name) { return node.querySelector('[data-part="' + name + '"]'); }
  function cell(tr, name) { return tr.querySelector('[data-cell="' + name + '"]'); }
  function width(bar, name, percent) { attr(bar.querySelector(name), "width", percent.toFixed(2)); }

  // The twin of fair_series._percent: two digits below one percent.
  function percent(value) {
    return value >= 0.0001 && value < 0.01 ? Number((100 * value).toPrecision(2)) + "\u00a0%" : N.percent(value);
  }

  // The twin of fair_series.fairness_sentence.
  function sentence(fair) {
    var kept = "Nobody with a promise asks for anything right now", tr, name;
    if (fair.active) {
      kept = "Promises that are asked for are kept to " + N.percent(fair.satisfied);
      kept += fair.jain > 0.98 ? ", alike for all" : ", unevenly (Jain index " + fair.jain.toFixed(2) + ")";
    }
    if (!fair.most || fair.most[1] <= 0.005) return kept + "; nobody is owed anything.";
    tr = rows[fair.most[0]];
    name = tr ? tr.querySelector("th a").title : "one tenant";
    return kept + "; " + name + " is owed most: " + N.percent(fair.most[1]) + ".";
  }

  function tile(name, value, sub) {
    var box = root.querySelector('[data-tile="' + name + '"]');
    put(part(box, "value"), value, true);
    if (sub) put(part(box, "sub"), sub);
  }
  function tiles(fair) {
    tile("satisfied", fair.active ? N.percent(fair.satisfied) : "–", "served ÷ min(demand, baseline), mean of " + fair.active + " asking");
    tile("jain", fair.active ? fair.jain.toFixed(3) : "–");
    tile("dispersion", fair.active ? fair.dispersion.toFixed(2) : "–");
    tile("owed", String(fair.owed));
    put(document.getElementById("sentence"), sentence(fair));
  }

  function debt(tr, value, largest) {
    var box = cell(tr, "debt"), bar = box.querySelector("rect:not(.track)"), wide = 50 * Math.min(1, Math.abs(value) / largest);
    put(box.querySelector(".nums"), N.debt(value), true);
    box.querySelector(".nums").classList.toggle("owed", value > 0.005);
    attr(bar, "class", value > 0 ? "owes" : "ahead");
    attr(bar, "x", (value >= 0 ? 50 : 50 - wide).toFixed(2));
    attr(bar, "width", wide.toFixed(2));
  }
  function satisfied(tr, kept) {
    var box = cell(tr, "satisfied"), asks = kept.length > 0;
    box.querySelector(".muted").hidden = asks;
    box.querySelector(".bullet").hidden = !asks;
    put(box.querySelector(".nums"), asks ? N.percent(kept[0]) : "–", true);
    width(box, ".kept", asks ? 100 * kept[0] : 0);
  }
  function line(row, scale, all, measured) {
    var tr = rows[row[0]], use, base, box;
    if (!tr) return;
    debt(tr, row[7], scale.largest);
    put(cell(tr, "weight"), row[6].toFixed(1), true);
    if (measured && row[14]) satisfied(tr, row[14]);
    use = all > 0 ? row[2][dimension] / all : 0;
    base = all > 0 ? row[5][dimension] / all : 0;
    box = cell(tr, "share");
    put(part(box, "share"), percent(use), true);
    put(part(box, "promised"), percent(base));
    width(box, ".use", share(use, scale.widest));
    mark(box.querySelector(".base"), share(base, scale.widest));
    attr(box.querySelector(".base"), "visibility", base > 0 ? "visible" : "hidden");
  }
  // Bars stay to the scale the page came with; it only grows, so that nothing is drawn over its end.
  function scales(state, all) {
    var found = { largest: Number(root.dataset.largest) || 0.1, widest: Number(root.dataset.widest) || 1e-9 };
    state.rows.forEach(function (row) {
      found.largest = Math.max(found.largest, Math.abs(row[7]));
      if (all > 0) found.widest = Math.max(found.widest, row[2][dimension] / all, row[5][dimension] / all);
    });
    root.dataset.largest = found.largest;
    root.dataset.widest = found.widest;
    return found;
  }

  // The charts get a point with each measure, that is every five seconds.
  function follow(state, fair) {
    var at = state.at, debts = {}, oldest, top;
    if (!range) { again(); return; }
    oldest = at - range.seconds * 1000;
    function add(trace, y) { TP.charts.mean(trace, at, y, range.step_s, oldest, STEP_S); }
    state.rows.forEach(function (row) { debts[row[0]] = row[7]; });
    if (!charts.fairness || !charts.debts && fair.most && fair.most[1]) again();
    if (charts.fairness) {
      charts.fairness.figure.data.forEach(function (t) { add(t, t.meta.role === "jain index" ? fair.jain : fair[t.meta.role]); });
      top = charts.fairness.figure.layout.yaxis.range;
      top[1] = Math.max(top[1], 1.04 * (fair.dispersion || 0));
    }
    if (charts.debts) charts.debts.figure.data.forEach(function (t) { if (t.meta.entitlement in debts) add(t, debts[t.meta.entitlement]); });
    if (charts.lending && fair.lent) charts.lending.figure.data.forEach(function (t) { add(t, fair[t.meta.role][dimension] / (dimension === 1 ? GIB : 1)); });
    CHARTS.forEach(function (name) { TP.charts.refresh(charts[name], at); });
  }

  // A page that came before the first tick has no rows: it is loaded once more with the first message that is new.
  function late(first) {
    var how = window.performance.getEntriesByType("navigation")[0];
    return "blank" in root.dataset && !first && how && how.type !== "reload";
  }
  function message(state, first) {
    var pool = state.pool, scale, all;
    if (!pool || !pool.capacity || (last && state.at <= last.at)) return;
    last = state;
    if (late(first)) { window.location.reload(); return; }
    all = pool.capacity[dimension];
    scale = scales(state, all);
    state.rows.forEach(function (row) { line(row, scale, all, pool.fair); });
    if (!pool.fair) return;
    tiles(pool.fair);
    if (document.hidden) range = null; else follow(state, pool.fair); // what was missed is fetched when the page is seen again
  }

  // The rows on the page and the debts in the chart are all this page wants to hear of.
  function listen() {
    var ids = Object.keys(rows);
    if (charts.debts) charts.debts.figure.data.forEach(function (t) { if (!rows[t.meta.entitlement]) ids.push(String(t.meta.entitlement)); });
    live.wish(ids);
  }
  function again() { if (Date.now() - asked > AGAIN_MS) load(); }
  function load() {
    asked = Date.now();
    TP.charts.load(root.dataset.charts).then(function (found) {
      CHARTS.forEach(function (name) {
        var node = document.getElementById("chart-" + name);
        charts[name] = null;
        if (found.empty) TP.charts.nothing(node, "Nothing was measured in this time yet.");
        else if (name === "debts" && found.no_debts) TP.charts.nothing(node, "Nobody is owed anything, nor ahead.");
        else charts[name] = TP.charts.draw(node, found[name], found.range.seconds, last ? Math.max(last.at, found.range.end) : found.range.end, found.range.step_s);
      });
      range = found.range;
      listen();
    }).catch(function () { TP.charts.failed(CHARTS); });
  }

  function explanations() {
    var dialog = document.getElementById("explain-dialog"), opener = null;
    document.body.addEventListener("htmx:beforeRequest", function (event) { if (event.target.tagName === "BUTTON") opener = event.target; });
    document.body.addEventListener("htmx:afterSwap", function (event) {
      if (event.target.id === "explain-panel" && !dialog.open) dialog.showModal();
    });
    dialog.addEventListener("close", function () { if (opener && opener.focus) opener.focus(); });
  }

  document.addEventListener("DOMContentLoaded", function () {
    root = document.getElementById("fairness");
    if (!root) return;
    dimension = Math.max(0, ["tokens", "kv", "slots"].indexOf(root.dataset.dimension));
    Array.prototype.forEach.call(root.querySelectorAll("tr[data-entitlement]"), function (tr) { rows[tr.dataset.entitlement] = tr; });
    document.addEventListener("visibilitychange", function () { if (!document.hidden && !range) load(); });
    explanations();
    live = TP.live({ socket: root.dataset.socket, poll: root.dataset.poll, onMessage: message });
    listen();
    load();
  });
})();
