// The figures of one pool's fairness, and the panel that explains one entitlement in a dialog.
(function () {
  "use strict";
  var TP = window.TP, CHARTS = ["fairness", "debts", "lending"];

  document.addEventListener("DOMContentLoaded", function () {
    var root = document.getElementById("fairness"), dialog = document.getElementById("explain-dialog"), opener = null;
    if (!root) return;
    TP.charts.load(root.dataset.charts).then(function (found) {
      CHARTS.forEach(function (name) {
        var node = document.getElementById("chart-" + name);
        if (found.empty) TP.charts.nothing(node, "Nothing was measured in this time yet.");
        else if (name === "debts" && found.no_debts) TP.charts.nothing(node, "Nobody is owed anything, nor ahead.");
        else TP.charts.draw(node, found[name], found.range.seconds, found.range.end);
      });
    }).catch(function () {
      CHARTS.forEach(function (name) {
        TP.charts.nothing(document.getElementById("chart-" + name), "The chart could not be loaded. Reload the page to try again.");
      });
    });
    document.body.addEventListener("htmx:beforeRequest", function (event) { opener = event.target; });
    document.body.addEventListener("htmx:afterSwap", function (event) {
      if (event.target.id === "explain-panel" && !dialog.open) dialog.showModal();
    });
    dialog.addEventListener("close", function () { if (opener && opener.focus) opener.focus(); });
  });
})();
