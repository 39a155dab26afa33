// Forms of entitlements: filling in what the check offers, going to what is wrong, nothing typed is lost by leaving.
(function () {
  "use strict";
  var dirty = false;

  function fill(name, value) {
    var node = document.getElementById("id_" + name);
    if (!node) return;
    node.value = value;
    node.dispatchEvent(new Event("input", { bubbles: true }));
  }
  function typed(name) { var node = document.getElementById("id_" + name); return node && node.value.trim() !== "" && node.value.trim() !== "0"; }
  document.addEventListener("click", function (event) {
    var node = event.target.closest && event.target.closest("[data-fill],[data-fill-share]");
    if (!node) return;
    if (node.dataset.fill) { fill(node.dataset.fill, node.dataset.value); node.remove(); return; }
    // Slots typed as the promise fill the promise, slots typed as the cap fill the cap.
    var side = typed("base_concurrency") ? "base" : "cap";
    fill(side + "_tokens_per_second", node.dataset.tokens);
    fill(side + "_kv_bytes", node.dataset.kv);
  });
  document.addEventListener("input", function (event) {
    if (event.target.form && event.target.form.hasAttribute("data-guard") && event.isTrusted) dirty = true;
  });
  document.addEventListener("submit", function () { dirty = false; });
  window.addEventListener("beforeunload", function (event) { if (dirty) event.preventDefault(); });
  document.addEventListener("htmx:responseError", function (event) {
    if (event.detail.xhr && event.detail.xhr.status === 401 && window.TP) window.TP.toast("Your session has ended; sign in again in another tab, then go on here.");
  });
  document.addEventListener("DOMContentLoaded", function () {
    var problems = document.getElementById("errors");
    if (problems) problems.focus();
  });
})();
