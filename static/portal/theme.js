// Runs before the first paint so that a dark page never flashes white. The choice is kept in this browser only.
(function () {
  "use strict";
  var query = window.matchMedia("(prefers-color-scheme: dark)");
  function stored() {
    try { return localStorage.getItem("tp-theme") || "auto"; } catch (e) { return "auto"; }
  }
  function apply() {
    var choice = stored();
    var dark = choice === "dark" || (choice === "auto" && query.matches);
    document.documentElement.setAttribute("data-bs-theme", dark ? "dark" : "light");
    document.documentElement.setAttribute("data-theme-choice", choice);
    document.dispatchEvent(new CustomEvent("tp:theme"));
  }
  window.TP = window.TP || {};
  window.TP.theme = {
    choice: stored,
    set: function (choice) {
      try { localStorage.setItem("tp-theme", choice); } catch (e) { /* private mode: for this page only */ }
      apply();
    }
  };
  query.addEventListener("change", apply);
  apply();
})();
