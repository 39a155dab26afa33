// One entitlement: tiles, facts and the three charts follow each message of its pool.
(function () {
  "use strict";
  var TP = window.TP, N = TP.numbers, put = TP.put, attr = TP.attr, share = TP.share, mark = TP.mark;
  var KEYS = ["tokens", "kv", "slots"], GIB = Math.pow(1024, 3), WORDS = { tokens: "token rate", kv_bytes: "KV cache", concurrency: "concurrency" };
  var root, charts = {}, range = null, last = 0;

  function part(name) { return root.querySelector('[data-part="' + name + '"]'); }

  function tile(row, index) {
    var node = root.querySelector('[data-tile="' + index + '"]'), bar = node.querySelector("svg");
    var use = row[2][index], limit = row[3][index], cap = row[4][index], base = row[5][index], whole = Math.max(use, limit, cap, base);
    put(node.querySelector('[data-part="text"]'), N.of(use, limit, index));
    attr(node.querySelector('[data-part="text"]'), "title", "use " + N.exact(use) + ", limit " + N.exact(limit) + ", cap " + N.exact(cap) + ", baseline " + N.exact(base, N.units[index]));
    put(node.querySelector('[data-part="room"]'), N.amount(row[12][index], index));
    attr(bar.querySelector(".use"), "width", share(use, whole).toFixed(2));
    mark(bar.querySelector(".base"), share(base, whole));
    attr(bar.querySelector(".base"), "visibility", base > 0 ? "visible" : "hidden");
    mark(bar.querySelector(".limit"), share(limit, whole));
  }
  function chart(row, at) {
    if (document.hidden) range = null;
    if (!range) return;
    var oldest = at - range.seconds * 1000;
    KEYS.forEach(function (key, index) {
      var entry = charts[key];
      if (!entry) return;
      entry.figure.data.forEach(function (trace) {
        var value = trace.meta.role === "use" ? row[2][index] : trace.meta.role === "limit" ? row[3][index] : null;
        if (value !== null) TP.charts.mean(trace, at, index === 1 ? value / GIB : value, range.step_s, oldest);
        else { trace.x = [oldest, at]; trace.y = [trace.meta.value, trace.meta.value]; }
      });
      TP.charts.refresh(entry, at);
    });
  }
  function message(state) {
    var row = state.rows.filter(function (r) { return String(r[0]) === root.dataset.entitlement; })[0], debt;
    if (!row || state.at <= last) return;
    last = state.at;
    for (var index = 0; index < 3; index += 1) tile(row, index);
    put(part("weight"), row[6].toFixed(1));
    debt = part("debt");
    put(debt, N.debt(row[7]));
    debt.classList.toggle("owed", row[7] > 0.005);
    put(part("refused"), N.si(row[9]) + " a minute now");
    put(part("binds"), row[10] ? WORDS[row[10]] || row[10].replace(/_/g, " ") : "nothing");
    chart(row, state.at);
  }
  function load() {
    TP.charts.load(root.dataset.charts).then(function (found) {
      var end = last || Date.now();
      KEYS.concat(["refused"]).forEach(function (key) {
        var node = document.getElementById("chart-" + key);
        var points = found[key].data.some(function (trace) { return trace.x && trace.x.length; });
        if (key === "refused" && !points) TP.charts.nothing(node, "Nothing was refused in this time.");
        else if (found.empty && !root.dataset.socket) TP.charts.nothing(node, "Nothing was measured in this time.");
        else charts[key] = TP.charts.draw(node, found[key], found.range.seconds, end, found.range.step_s);
      });
      range = found.range;
    }).catch(function () { TP.charts.failed(KEYS.concat(["refused"])); });
  }
  document.addEventListener("DOMContentLoaded", function () {
    root = document.getElementById("entitlement");
    load();
    if (!root.dataset.socket) return;
    document.addEventListener("visibilitychange", function () { if (!document.hidden && !range) load(); });
    setInterval(function () { if (!document.hidden) load(); }, 60000);
    TP.live({ socket: root.dataset.socket, poll: root.dataset.poll, onMessage: message });
  });
})();
