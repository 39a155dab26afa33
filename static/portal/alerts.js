// The rule form: the sentence and unit of the chosen metric, the chart that follows the preview.
(function () {
  "use strict";
  var TP = window.TP, range = "1h", shown = "";

  function metric() {
    var chosen = document.getElementById("id_metric").value;
    Array.prototype.forEach.call(document.querySelectorAll("#metric-hint [data-metric]"), function (node) {
      node.hidden = node.dataset.metric !== chosen;
      if (!node.hidden) document.querySelector("[data-unit-text]").textContent = node.dataset.unit;
    });
  }

  // Asked again only when something that is drawn has changed: no flicker while a name is typed.
  function chart() {
    var box = document.getElementById("chart-preview"), panel = document.getElementById("preview"), url;
    if (!panel || !panel.dataset.chart) return;
    url = panel.dataset.chart + "&range=" + range;
    if (url === shown) return;
    shown = url;
    TP.charts.load(url).then(function (found) {
      if (url !== shown) return;
      if (found.empty) TP.charts.nothing(box, "Nothing is known of this metric in this time yet.");
      else TP.charts.draw(box, found.metric, found.range.seconds, found.range.end, found.range.step_s);
    }).catch(function () { TP.charts.nothing(box, "The chart could not be loaded."); });
  }

  document.addEventListener("DOMContentLoaded", function () {
    document.getElementById("id_metric").addEventListener("change", metric);
    document.addEventListener("htmx:afterSwap", chart);
    Array.prototype.forEach.call(document.querySelectorAll("[data-range]"), function (button) {
      button.addEventListener("click", function () {
        range = button.dataset.range;
        Array.prototype.forEach.call(document.querySelectorAll("[data-range]"), function (other) {
          other.setAttribute("aria-pressed", String(other === button));
        });
        chart();
      });
    });
    metric();
    chart();
  });
})();
