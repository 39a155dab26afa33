// Tier forms: the preview's age, Enter computes it, Ctrl+Enter publishes, and nothing typed is lost by leaving.
(function () {
  "use strict";
  var computed = 0, dirty = false;

  function age() {
    var node = document.querySelector("[data-age]");
    if (!node || !computed) return;
    var seconds = Math.round((Date.now() - computed) / 1000);
    node.textContent = seconds < 2 ? "just now" : seconds < 90 ? seconds + " s ago" : Math.round(seconds / 60) + " min ago";
  }
  function arrived(event) {
    if (event.target.id !== "preview") return;
    computed = Date.now();
    age();
  }
  function failed(event) {
    if (event.detail.target && event.detail.target.id === "preview" && window.TP) {
      window.TP.toast(event.detail.xhr && event.detail.xhr.status === 401
        ? "Your session has ended; sign in again in another tab, then go on here."
        : "The preview could not be computed. What you typed is still here.");
    }
  }
  function sent(event) {
    var form = event.target;
    if (form.id !== "tier-form") return;
    if (event.submitter && event.submitter.value === "preview" && window.htmx) {
      event.preventDefault();
      window.htmx.trigger("[data-terms]", "tp:preview");
      return;
    }
    dirty = false;
  }
  document.addEventListener("htmx:afterSwap", arrived);
  document.addEventListener("htmx:responseError", failed);
  document.addEventListener("htmx:sendError", failed);
  document.addEventListener("submit", sent);
  document.addEventListener("input", function (event) {
    if (event.target.form && event.target.form.hasAttribute("data-guard")) dirty = true;
    var tried = document.getElementById("what-if");
    if (tried && event.target.closest("[data-terms]")) tried.textContent = ""; // it was about other terms
  });
  document.addEventListener("keydown", function (event) {
    var button = document.querySelector('#tier-form [name=deed][value=publish]');
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && button) { event.preventDefault(); button.click(); }
  });
  window.addEventListener("beforeunload", function (event) { if (dirty) event.preventDefault(); });
  document.addEventListener("DOMContentLoaded", function () {
    var problems = document.getElementById("errors");
    if (problems) problems.focus();
    if (document.querySelector("[data-age]")) computed = Date.now();
    setInterval(age, 1000);
  });
})();
