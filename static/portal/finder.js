// The search box of the frame: a combobox. Arrow keys choose, Enter goes there (or to the page of all hits), Esc closes.
(function () {
  "use strict";
  document.addEventListener("DOMContentLoaded", function () {
    var form = document.getElementById("finder"), input = document.getElementById("finder-input");
    var box = document.getElementById("finder-hits"), at = -1;
    if (!form) return;

    function hits() { return Array.prototype.slice.call(box.querySelectorAll("a.hit")); }

    function open(yes) {
      box.hidden = !yes;
      input.setAttribute("aria-expanded", String(yes));
      if (!yes) choose(-1);
    }

    // -1: none.
    function choose(index) {
      var all = hits();
      at = index;
      all.forEach(function (node, number) { node.setAttribute("aria-selected", String(number === at)); });
      if (!all[at]) { input.removeAttribute("aria-activedescendant"); return; }
      input.setAttribute("aria-activedescendant", all[at].id);
      all[at].scrollIntoView({ block: "nearest" });
    }

    input.addEventListener("keydown", function (event) {
      if (event.isComposing) return; // a name in another script is still being written
      if (event.key === "ArrowDown" || event.key === "ArrowUp") {
        var count = hits().length;
        if (!count) return;
        event.preventDefault();
        open(true);
        choose(event.key === "ArrowDown" ? (at + 1) % count : (at <= 0 ? count : at) - 1);
      } else if (event.key === "Enter" && at >= 0 && !box.hidden) {
        event.preventDefault();
        window.location.href = hits()[at].href;
      } else if (event.key === "Escape") {
        event.preventDefault();
        if (!box.hidden) open(false);
        else if (input.value) { input.value = ""; box.textContent = ""; }
        else input.blur();
      } else if (event.key === "Tab") open(false);
    });
    input.addEventListener("input", function () { if (!input.value.trim()) { box.textContent = ""; open(false); } });
    input.addEventListener("focus", function () { if (box.childElementCount) open(true); });
    box.addEventListener("htmx:afterSwap", function () {
      at = -1;
      open(document.activeElement === input && !!input.value.trim() && box.childElementCount > 0);
    });
    document.addEventListener("click", function (event) { if (!form.contains(event.target)) open(false); });
    form.addEventListener("submit", function (event) { if (!input.value.trim()) event.preventDefault(); });
  });
})();
