// One figure and the list below it point at each other: focus on an event draws its moment, a click on a marker finds it.
(function () {
  "use strict";
  var TP = window.TP, shift = -new Date().getTimezoneOffset() * 60000, node, drawn = false;

  function mark(at) {
    if (!drawn) return;
    var style = getComputedStyle(document.documentElement), x = at * 1000 + shift;
    window.Plotly.relayout(node, { shapes: at ? [{ type: "line", xref: "x", yref: "paper", x0: x, x1: x, y0: 0, y1: 1, line: { width: 1.5, dash: "dot", color: style.getPropertyValue("--tp-focus").trim() } }] : [] });
  }
  function find(index) {
    var link = document.getElementById("event-" + index);
    if (!link) return;
    Array.prototype.forEach.call(document.querySelectorAll(".event.marked"), function (n) { n.classList.remove("marked"); });
    link.classList.add("marked");
    link.focus();
  }

  document.addEventListener("DOMContentLoaded", function () {
    var list = document.getElementById("events"), current = null;
    node = document.getElementById("chart-timeline");
    if (!node) return;
    TP.charts.load(node.dataset.url).then(function (found) {
      if (found.empty) { TP.charts.nothing(node, "Nothing was measured in this time, and nothing happened."); return; }
      if (node.clientWidth < 480) found.timeline.layout.showlegend = false; // the strips have titles, the hover has names
      TP.charts.draw(node, found.timeline, found.range.seconds, found.range.end);
      drawn = true;
      node.on("plotly_click", function (event) {
        event.points.some(function (point) { if (point.id !== undefined) find(point.id); return point.id !== undefined; });
      });
    }).catch(function () { TP.charts.nothing(node, "The chart could not be loaded. Reload the page to try again."); });
    if (!list) return;
    function show(event) {
      var link = event.target.closest ? event.target.closest("[data-at]") : null;
      if (link && link !== current) { current = link; mark(Number(link.dataset.at)); }
    }
    function hide() { if (current) { current = null; mark(0); } }
    list.addEventListener("focusin", show);
    list.addEventListener("mouseover", show);
    list.addEventListener("focusout", hide);
    list.addEventListener("mouseleave", hide);
    // Arrows walk through the list, as in any list of choices.
    list.addEventListener("keydown", function (event) {
      var step = event.key === "ArrowDown" ? 1 : event.key === "ArrowUp" ? -1 : 0, links, at;
      if (!step) return;
      links = Array.prototype.slice.call(list.querySelectorAll(".event"));
      at = links.indexOf(document.activeElement);
      if (at < 0 || !links[at + step]) return;
      event.preventDefault();
      links[at + step].focus();
    });
  });
})();
