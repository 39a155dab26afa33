// A tenant's home: the sentence, the three small charts and the debt follow each message.
(function () {
  "use strict";
  var TP = window.TP, N = TP.numbers, put = TP.put;
  var KEYS = ["tokens", "kv", "slots"], NAMES = ["token budget", "KV cache", "concurrency"], GIB = Math.pow(1024, 3), BUCKET_S = 10;
  var root, usual, charts = {}, range = null, last = 0;

  // The twin of series.fit and series.fit_sentence.
  function sentence(row) {
    var counts = [0, 1, 2].map(function (i) {
      return usual[i] > 0 ? Math.max(0, Math.floor(row[12][i] * (i === 0 ? BUCKET_S : 1) / usual[i])) : 1000000;
    });
    var binds = counts.indexOf(Math.min.apply(null, counts)), many = counts[binds];
    var where = NAMES[binds] + " (" + N.of(row[2][binds], row[3][binds], binds) + ").";
    if (many === 0) return "No further request of your usual size fits right now. What binds: " + where;
    return "You can send about " + many.toLocaleString("en-GB") + " more " + (many === 1 ? "request" : "requests") + " of your usual size now. What binds first: " + where;
  }

  function message(state) {
    var row = state.rows.filter(function (r) { return String(r[0]) === root.dataset.entitlement; })[0];
    if (!row || state.at <= last) return;
    last = state.at;
    if (row[11] === "bound" || row[11] === "degraded") put(document.getElementById("sentence"), sentence(row));
    KEYS.forEach(function (key, index) {
      put(root.querySelector('[data-now="' + index + '"]'), N.of(row[2][index], row[3][index], index));
      put(root.querySelector('[data-free="' + index + '"]'), N.amount(Math.max(0, row[12][index]), index));
    });
    var debt = root.querySelector('[data-part="debt"]');
    put(debt, row[7] > 0.005 ? "owed " + N.percent(row[7]) : row[7] < -0.005 ? "above " + N.percent(-row[7]) : "even");
    debt.classList.toggle("owed", row[7] > 0.005);
    put(root.querySelector('[data-part="priority"]'), (1 + Math.max(0, row[7]) * Number(root.dataset.alpha)).toFixed(1));
    if (document.hidden) range = null;
    if (!range) return;
    var oldest = state.at - range.seconds * 1000;
    KEYS.forEach(function (key, index) {
      var entry = charts[key];
      if (!entry) return;
      entry.figure.data.forEach(function (trace) {
        var value = trace.meta.role === "use" ? row[2][index] : trace.meta.role === "limit" ? row[3][index] : null;
        if (value !== null) TP.charts.mean(trace, state.at, index === 1 ? value / GIB : value, range.step_s, oldest);
        else { trace.x = [oldest, state.at]; trace.y = [trace.meta.value, trace.meta.value]; }
      });
      TP.charts.refresh(entry, state.at);
    });
    if (charts.refused) TP.charts.refresh(charts.refused, state.at);
  }

  function load() {
    TP.charts.load(root.dataset.charts).then(function (found) {
      var end = last || Date.now();
      range = found.range;
      KEYS.concat(["refused"]).forEach(function (key) {
        charts[key] = TP.charts.draw(document.getElementById("chart-" + key), found[key], range.seconds, end, range.step_s);
      });
    }).catch(function () {
      KEYS.concat(["refused"]).forEach(function (key) {
        TP.charts.nothing(document.getElementById("chart-" + key), "The chart could not be loaded. Reload the page to try again.");
      });
    });
  }

  document.addEventListener("DOMContentLoaded", function () {
    root = document.getElementById("home");
    usual = root.dataset.usual.split(",").map(Number);
    document.addEventListener("visibilitychange", function () { if (!document.hidden && !range) load(); });
    // Refusals of a tenant come from the books, not from the live message: fetched again every half minute.
    setInterval(function () { if (!document.hidden) load(); }, 30000);
    load();
    TP.live({ socket: root.dataset.socket, poll: root.dataset.poll, onMessage: message });
  });
})();
