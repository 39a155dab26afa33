// What lists of rows share: drop-downs that close, filters that apply at once, live numbers of the shown rows with their age.
// A table says where they come from: <… id="grid" data-live="address">, <tr data-row="id">.
(function () {
  "use strict";
  var TP = window.TP, put = TP.put, attr = TP.attr;
  var LIVE_MS = 3000, STALE_MS = 10000, LOST_MS = 30000;

  function each(selector, act) { Array.prototype.forEach.call(document.querySelectorAll(selector), act); }

  TP.rows = {
    // take(row, tr) puts one row's numbers into its cells; a first look at once, then every few seconds while one looks.
    live: function (grid, take) {
      var node = document.getElementById("grid-age"), opened = Date.now(), at = Number((node || { dataset: {} }).dataset.at || 0);

      function found(answer) {
        if (answer.at) at = Math.abs(Date.now() - answer.at) < 600000 ? Math.min(Date.now(), answer.at) : Date.now();
        answer.rows.forEach(function (row) {
          var tr = grid.querySelector('tr[data-row="' + row[0] + '"]');
          if (tr) take(row, tr);
        });
      }
      function refresh() {
        var ids = Array.prototype.map.call(grid.querySelectorAll("tr[data-row]"), function (tr) { return tr.dataset.row; });
        if (document.hidden || !ids.length) return;
        fetch(grid.dataset.live + "?ids=" + ids.join(","), { headers: { Accept: "application/json" }, credentials: "same-origin" })
          .then(function (r) { return r.ok ? r.json() : null; }).then(function (answer) { if (answer) found(answer); age(); }).catch(age);
      }
      function age() {
        var since = at ? Date.now() - at : null, seconds = Math.round((since || 0) / 1000), late = Date.now() - opened > STALE_MS;
        if (!node) return;
        attr(node, "data-state", since === null ? (late ? "lost" : "waiting") : since > LOST_MS ? "lost" : since > STALE_MS ? "stale" : "live");
        if (since === null) put(node, late ? "no live data" : "waiting for data");
        else put(node, since > STALE_MS ? seconds + " s old" : seconds <= 0 ? "live · now" : "live · " + seconds + " s ago");
      }
      age();
      refresh();
      setInterval(refresh, LIVE_MS);
      setInterval(age, 1000);
    },
    // A cell that has nothing to show.
    none: function (cell) {
      var mark = document.createElement("span");
      if (cell.textContent.trim() === "–") return;
      mark.className = "muted";
      mark.textContent = "–";
      cell.textContent = "";
      cell.appendChild(mark);
      cell.classList.remove("owed", "above");
    },
    debt: function (cell, value) {
      put(cell, TP.numbers.debt(value), true);
      cell.classList.toggle("owed", value > 0.005);
    }
  };

  document.addEventListener("click", function (event) {
    each("details.drop[open]", function (node) { if (!node.contains(event.target)) node.removeAttribute("open"); });
  });
  document.addEventListener("keydown", function (event) {
    if (event.key !== "Escape") return;
    each("details.drop[open]", function (node) { node.removeAttribute("open"); node.querySelector("summary").focus(); });
  });
  document.addEventListener("DOMContentLoaded", function () {
    each("#filters select:not(.drop-body select)", function (node) { node.addEventListener("change", function () { node.form.submit(); }); });
  });
})();
