// Forms of pools: what stands in for empty fields, names that follow the model, fields of another provider, dialogs of
// endpoints, and nothing typed is lost by leaving.
(function () {
  "use strict";
  var dirty = false;

  function form() { return document.getElementById("wizard"); }
  function field(name) { var f = form(); return f && f.elements[name] && f.elements[name].type !== "hidden" ? f.elements[name] : null; }

  // The preview brings along what an empty field would be.
  function stand() {
    var known = document.getElementById("estimates");
    if (!known || !form()) return;
    Array.prototype.forEach.call(known.content.querySelectorAll("[data-name]"), function (node) {
      var input = field(node.dataset.name);
      if (input) input.placeholder = node.textContent;
    });
  }

  // Until somebody types them, names follow the model that is chosen.
  function suggest() {
    var shape = field("shape"), slug = field("slug"), model = field("model_name");
    if (!shape || !slug || !model || shape.value === "own") return;
    [[slug, shape.value.replace(/\./g, "-")], [model, shape.value]].forEach(function (pair) {
      if (!pair[0].value || pair[0].value === pair[0].dataset.suggested) { pair[0].value = pair[1]; pair[0].dataset.suggested = pair[1]; }
    });
  }

  function changed(event) {
    if (event.target.name === "shape" && field("shape")) suggest();
    if (event.target.name === "provider" && field("provider")) {
      var step = document.createElement("input");
      step.type = "hidden"; step.name = "step"; step.value = "provider";
      form().appendChild(step);
      form().submit();
    }
  }

  // A dialog that was fetched opens at once; the confirm word is checked by app.js.
  function arrived(event) {
    if (event.target.id === "preview") stand();
    if (event.target.id !== "deed") return;
    var dialog = event.target.querySelector("dialog");
    if (dialog && dialog.showModal) dialog.showModal();
  }

  document.addEventListener("change", changed);
  document.addEventListener("htmx:afterSwap", arrived);
  document.addEventListener("input", function (event) {
    if (event.target.form && event.target.form.hasAttribute("data-guard")) dirty = true;
  });
  document.addEventListener("submit", function () { dirty = false; });
  window.addEventListener("beforeunload", function (event) { if (dirty) event.preventDefault(); });
  document.addEventListener("DOMContentLoaded", function () {
    var problems = document.getElementById("errors");
    if (problems) problems.focus();
    suggest();
    stand();
  });
})();
