// The list of tenants: use, refusals and debts of the shown rows follow the tick.
(function () {
  "use strict";
  var TP = window.TP, N = TP.numbers, put = TP.put, attr = TP.attr;

  function take(row, tr) {
    var served = row[3].some(function (limit) { return limit > 0; }), cell;
    if ((cell = tr.querySelector('[data-cell="state"] .chip')) && cell.textContent !== row[1]) {
      cell.className = "chip " + row[1];
      put(cell, row[1], true);
    }
    if ((cell = tr.querySelector('[data-cell="use"]'))) { if (served) TP.bar(cell, row[2], row[3], row[4], row[5], 0); else TP.rows.none(cell); }
    if ((cell = tr.querySelector('[data-cell="refused"]'))) { if (served) put(cell, N.si(row[6]), true); else TP.rows.none(cell); }
    if ((cell = tr.querySelector('[data-cell="debt"]'))) { if (served) TP.rows.debt(cell, row[7]); else TP.rows.none(cell); }
    if ((cell = tr.querySelector('[data-cell="owed"]'))) {
      put(cell, row[8] ? N.signed(row[8]) : "0", true);
      attr(cell, "title", row[8] ? N.exact(row[8], "tokens") : "nothing is owed");
      cell.classList.toggle("owed", row[8] > 0);
      cell.classList.toggle("above", row[8] < 0);
    }
  }

  document.addEventListener("DOMContentLoaded", function () {
    var grid = document.getElementById("grid");
    if (grid) TP.rows.live(grid, take);
  });
})();
