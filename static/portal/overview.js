// All pools live: tiles, rows and charts follow one message a second. It carries the rows that changed; rows keep their
// order, columns their width, charts their zoom.
(function () {
  "use strict";
  var TP = window.TP, N = TP.numbers, put = TP.put, attr = TP.attr, share = TP.share, mark = TP.mark, room = TP.room;
  var KEYS = ["tokens", "kv", "slots"], TITLES = ["Tokens/s", "KV cache", "Concurrency"], GIB = Math.pow(1024, 3);
  var CHARTS = ["use", "refused", "replicas"];
  var root, dimension, charts = {}, range = null, last = null, rows = {};

  function free(use, all) { return all > 0 ? Math.max(0, 1 - use / all) : 0; }
  function words(code) { return code.replace("_", " ").replace("kv ", "KV "); }

  function tile(name, value, sub, exact, mood) {
    var box = root.querySelector('[data-tile="' + name + '"]'), big;
    if (!box) return;
    big = box.querySelector('[data-part="value"]');
    put(big, value);
    attr(big, "title", exact);
    attr(big, "data-mood", mood || "");
    put(box.querySelector('[data-part="sub"]'), sub);
  }

  // The twin of overview_tiles.texts_of.
  function tiles(t) {
    var cap = t.capacity, use = t.use, rate = t.refused_per_minute, least = 1, most = "", any = false;
    for (var d = 0; d < 3; d += 1) if (cap[d] > 0) { any = true; least = Math.min(least, free(use[d], cap[d])); }
    if (!any) least = 0;
    Object.keys(t.refused).forEach(function (code) { if (!most || t.refused[code] > t.refused[most]) most = code; });
    tile("capacity", N.si(cap[0], "tok/s"), t.ready + (t.ready === 1 ? " replica" : " replicas") + (t.pending ? " +" + t.pending : "") + " · " + N.si(cap[2], "slots"), N.exact(cap[0], "tok/s"));
    tile("promised", N.si(t.promised[0], "tok/s"), part(t.promised[0], cap[0]) + " of what is ready", N.exact(t.promised[0], "tok/s"), t.promised[0] > cap[0] ? "none" : "");
    tile("use", N.si(use[0], "tok/s"), part(use[0], cap[0]) + " · " + N.of(use[2], cap[2], 2), N.exact(use[0], "tok/s"));
    tile("headroom", N.si(t.headroom[2], "slots"), N.si(t.headroom[0], "tok/s") + " beside use and reserves", N.exact(t.headroom[2], "slots"), least < 0.01 ? "none" : least < 0.15 ? "low" : "");
    tile("refused", N.si(rate, "/min"), rate ? (most ? "mostly " + words(most) : "in the last second none") : "nothing is refused", N.exact(rate, "per minute"), rate ? "low" : "");
    tile("waiting", String(t.waiting), "queued inside endpoints", N.exact(t.waiting, "requests"), t.waiting ? "low" : "");
  }
  function part(value, whole) { return whole > 0 ? N.percent(value / whole) : "–"; }

  function line(row) {
    var tr = rows[row[0]], use = row[1], cap = row[2], promised = row[3], least = null;
    if (!tr) return;
    for (var d = 0; d < 3; d += 1) {
      var cell = tr.querySelector('[data-cell="' + d + '"]'), bar = cell.querySelector("svg"), left = free(use[d], cap[d]);
      put(cell.querySelector(".nums"), N.of(use[d], cap[d], d));
      attr(cell.firstElementChild, "title", N.exact(use[d]) + " of " + N.exact(cap[d], N.units[d]));
      attr(bar, "data-room", room(left));
      attr(bar.querySelector(".use"), "width", share(use[d], cap[d]).toFixed(2));
      mark(bar.querySelector(".promise"), share(promised[d], cap[d]));
      if (cap[d] > 0 && (least === null || left < least[0])) least = [left, d];
    }
    var tight = tr.querySelector('[data-cell="tight"]');
    put(tight, least ? TITLES[least[1]] + " " + N.percent(least[0]) + " free" : "no replica is ready");
    attr(tight, "data-room", room(least ? least[0] : 0));
    put(tr.querySelector('[data-cell="replicas"]'), row[4] + (row[5] ? " +" + row[5] : "") + " of " + tr.dataset.max, true);
    put(tr.querySelector('[data-cell="refused"]'), N.si(row[7]));
    put(tr.querySelector('[data-cell="waiting"]'), String(row[8]));
  }
  function silent(id) {
    if (rows[id]) { put(rows[id].querySelector('[data-cell="tight"]'), "no live data"); attr(rows[id].querySelector('[data-cell="tight"]'), "data-room", "none"); }
  }

  function value(amount) { return dimension === 1 ? amount / GIB : amount; }
  function follow(state) {
    if (!range || !charts.use) return;
    var at = state.at, oldest = at - range.seconds * 1000, t = state.totals, now = 0;
    charts.use.figure.data.forEach(function (trace) {
      TP.charts.mean(trace, at, value(t[trace.meta.role][dimension]), range.step_s, oldest);
    });
    charts.replicas.figure.data.forEach(function (trace) {
      if (trace.meta.role !== "decision") TP.charts.mean(trace, at, t[trace.meta.role], range.step_s, oldest);
    });
    charts.refused.figure.data.forEach(function (trace) {
      var count = t.refused[trace.meta.code] || 0;
      now += count;
      if (count) TP.charts.count(trace, at, count, range.bar_s, oldest);
    });
    put(document.getElementById("refused-now"), now ? now + " in the last second" : "none in the last second");
    CHARTS.forEach(function (name) { TP.charts.refresh(charts[name], at); });
  }

  function message(state) {
    if (!state.totals || (last && state.at < last.at) || (last && state.at === last.at && !state.full)) return;
    var fresh = !last || state.at > last.at;
    last = state;
    put(document.getElementById("sentence"), state.sentence);
    tiles(state.totals);
    state.rows.forEach(line);
    (state.gone || []).forEach(silent);
    if (!fresh) return;
    if (!document.hidden) follow(state); else range = null; // what was missed is fetched when the page is seen again
  }

  function load() {
    TP.charts.load(root.dataset.charts + "&dimension=" + KEYS[dimension]).then(function (found) {
      var end = last ? last.at : Date.now();
      range = found.range;
      CHARTS.forEach(function (name) {
        charts[name] = TP.charts.draw(document.getElementById("chart-" + name), found[name], range.seconds, end, range.step_s);
      });
    }).catch(function () { TP.charts.failed(CHARTS); });
  }

  // Alerts come with the latest decisions, from the books.
  function alerts() {
    var box = document.querySelector("#latest [data-alerts]"), open = Number(box ? box.dataset.alerts : 0);
    tile("alerts", String(open), open ? (box.dataset.worst || "open") + ", see below" : "nothing to look at", "", open ? "none" : "");
  }

  document.addEventListener("DOMContentLoaded", function () {
    root = document.getElementById("overview");
    dimension = Math.max(0, KEYS.indexOf(root.dataset.dimension));
    Array.prototype.forEach.call(root.querySelectorAll("tr[data-pool]"), function (tr) { rows[tr.dataset.pool] = tr; });
    TP.charts.dimensions(function (key) { dimension = KEYS.indexOf(key); range = null; load(); });
    document.addEventListener("visibilitychange", function () { if (!document.hidden && !range) load(); });
    document.body.addEventListener("htmx:afterSwap", alerts);
    load();
    TP.live({ socket: root.dataset.socket, poll: root.dataset.poll, onMessage: message });
  });
})();
