// The live page of one pool: gauges, rows and charts follow each message; rows keep their order, columns their width.
(function () {
  "use strict";
  var TP = window.TP, N = TP.numbers, put = TP.put, attr = TP.attr, share = TP.share, mark = TP.mark, room = TP.room;
  var KEYS = ["tokens", "kv", "slots"], GIB = Math.pow(1024, 3);
  var CHARTS = ["use", "refused", "headroom", "replicas"];
  var root, dimension, charts = {}, range = null, last = null, live = null, lines = {}, layers = [];

  function part(node, name) { return node ? node.querySelector('[data-part="' + name + '"]') : null; }

  function gauge(index, pool) {
    var tile = root.querySelector('[data-gauge="' + index + '"]'), bar = tile.querySelector("svg.gauge");
    var use = pool.use[index], all = pool.capacity[index], free = all ? Math.max(0, 1 - use / all) : 0;
    var used = share(use, all), promised = share(pool.promised[index], all), word = room(free);
    put(part(tile, "text"), N.of(use, all, index));
    attr(part(tile, "text"), "title", N.exact(use) + " of " + N.exact(all, N.units[index]));
    put(part(tile, "free"), all ? N.percent(free) + " free" : "no capacity");
    attr(part(tile, "free"), "data-room", word);
    put(part(tile, "promised"), all ? N.percent(pool.promised[index] / all) + " promised" : "");
    attr(bar, "data-room", word);
    attr(bar.querySelector(".use"), "width", used.toFixed(2));
    attr(bar.querySelector(".hold"), "x", used.toFixed(2));
    attr(bar.querySelector(".hold"), "width", Math.min(share(pool.hold[index], all), 100 - used).toFixed(2));
    mark(bar.querySelector(".promise"), promised);
  }

  function replicas(pool) {
    var tile = document.getElementById("replicas-tile"), bar = part(tile, "bar"), most = Number(bar.dataset.max) || 1;
    put(part(tile, "ready"), String(pool.ready), true);
    put(part(tile, "pending"), (pool.pending ? "+" + pool.pending : "") + (pool.draining ? " −" + pool.draining : ""), true);
    put(part(tile, "wanted"), "wants " + pool.wanted + " of at most " + most);
    put(part(tile, "need"), "need " + pool.need.toFixed(1));
    attr(bar.querySelector(".use"), "width", share(pool.ready, most).toFixed(2));
    attr(bar.querySelector(".hold"), "x", share(pool.ready, most).toFixed(2));
    attr(bar.querySelector(".hold"), "width", share(pool.pending, most).toFixed(2));
    mark(bar.querySelector(".promise"), share(pool.wanted, most));
    put(document.getElementById("reason"), pool.reason || "");
  }

  function line(row) {
    var tr = lines[row[0]], cell, binds = row[10] || "", state = row[11], key;
    if (!tr) return;
    for (var index = 0; index < 3; index += 1) TP.bar(tr.querySelector('[data-cell="' + index + '"]'), row[2], row[3], row[4], row[5], index);
    put(tr.querySelector('[data-cell="headroom"]'), N.si(row[12][2]));
    put(tr.querySelector('[data-cell="weight"]'), row[6].toFixed(1));
    cell = tr.querySelector('[data-cell="debt"]');
    put(cell, N.debt(row[7]));
    cell.classList.toggle("owed", row[7] > 0.005);
    put(tr.querySelector('[data-cell="refused"]'), N.si(row[9]));
    cell = tr.querySelector('[data-cell="binds"]');
    key = binds + "/" + state;
    if (cell.dataset.shown !== key) {
      cell.dataset.shown = key;
      cell.textContent = "";
      var chip = document.createElement("span"), word = binds || (state !== "bound" ? state : "");
      chip.className = word ? "chip " + word : "muted";
      chip.textContent = word ? word.replace("_", " ").replace("kv ", "KV ") : "nothing";
      cell.appendChild(chip);
    }
  }

  // The rows on the page and the layers of the stack are all this page wants to hear of.
  function listen() {
    lines = {};
    Array.prototype.forEach.call(root.querySelectorAll("tr[data-entitlement]"), function (tr) { lines[tr.dataset.entitlement] = tr; });
    var ids = Object.keys(lines);
    layers.forEach(function (id) { if (!lines[id]) ids.push(String(id)); });
    if (live) live.wish(ids);
    if (last) last.rows.forEach(line);
  }

  function value(amount) { return dimension === 1 ? amount / GIB : amount; }
  function follow(state) {
    if (!range || !charts.use) return;
    var at = state.at, oldest = at - range.seconds * 1000, uses = {}, known = {}, others = 0;
    state.rows.forEach(function (row) { uses[row[1]] = (uses[row[1]] || 0) + row[2][dimension]; });
    charts.use.figure.data.forEach(function (t) { if (t.meta.role === "tenant" && t.meta.tenant) known[t.meta.tenant] = true; });
    // Rows may be fewer than the pool has: the others are what the pool uses beside the known.
    others = state.pool.use[dimension];
    Object.keys(known).forEach(function (id) { others -= uses[id] || 0; });
    others = Math.max(0, others);
    charts.use.figure.data.forEach(function (t) {
      var y = t.meta.role === "tenant" ? (t.meta.tenant ? uses[t.meta.tenant] || 0 : others) : state.pool[t.meta.role][dimension];
      TP.charts.mean(t, at, value(y), range.step_s, oldest);
    });
    charts.headroom.figure.data.forEach(function (t) {
      var all = state.pool.capacity[t.meta.dimension], free = state.pool.headroom[t.meta.dimension];
      TP.charts.least(t, at, all > 0 ? Math.min(100, 100 * free / all) : null, range.step_s, oldest);
    });
    charts.replicas.figure.data.forEach(function (t) {
      if (t.meta.role !== "decision") TP.charts.mean(t, at, state.pool[t.meta.role], range.step_s, oldest);
    });
    var refused = state.pool.refused || {}, now = 0;
    charts.refused.figure.data.forEach(function (t) {
      var count = refused[t.meta.code] || 0;
      now += count;
      if (count) TP.charts.count(t, at, count, range.bar_s, oldest);
    });
    put(document.getElementById("refused-now"), now ? now + " in the last second" : "none in the last second");
    CHARTS.forEach(function (name) { TP.charts.refresh(charts[name], at); });
  }

  function message(state) {
    var pool = state.pool;
    if (!pool || !pool.capacity || (last && state.at <= last.at)) return;
    last = state;
    if (pool.sentence) put(document.getElementById("sentence"), pool.sentence);
    for (var index = 0; index < 3; index += 1) gauge(index, pool);
    replicas(pool);
    state.rows.forEach(line);
    if (!document.hidden) follow(state); else range = null; // what was missed is fetched when the page is seen again
  }

  function load() {
    var url = root.dataset.charts + "&dimension=" + KEYS[dimension];
    TP.charts.load(url).then(function (found) {
      var end = last ? last.at : Date.now();
      range = found.range;
      layers = found.rows || [];
      listen();
      CHARTS.forEach(function (name) {
        charts[name] = TP.charts.draw(document.getElementById("chart-" + name), found[name], range.seconds, end, range.step_s);
      });
    }).catch(function () { TP.charts.failed(CHARTS); });
  }

  document.addEventListener("DOMContentLoaded", function () {
    root = document.getElementById("pool");
    dimension = Math.max(0, KEYS.indexOf(root.dataset.dimension));
    TP.charts.dimensions(function (key) { dimension = KEYS.indexOf(key); range = null; load(); });
    document.addEventListener("visibilitychange", function () { if (!document.hidden && !range) load(); });
    document.body.addEventListener("htmx:afterSwap", function (event) {
      var asked = event.detail && event.detail.pathInfo && event.detail.pathInfo.requestPath;
      if (asked && asked.indexOf("/rows/") > 0) listen();
    });
    listen();
    load();
    live = TP.live({ socket: root.dataset.socket, poll: root.dataset.poll, onMessage: message });
  });
})();
