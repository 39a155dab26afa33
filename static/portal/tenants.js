// Pages of tenants: a slug that follows the name until somebody types one; amounts filled in by a button.
(function () {
  "use strict";
  var LETTERS = { "Ø": "o", "ø": "o", "Æ": "ae", "æ": "ae", "Œ": "oe", "œ": "oe", "ß": "ss", "Ł": "l", "ł": "l", "Đ": "d", "đ": "d" };

  function slugOf(name) {
    var plain = name.replace(/[ØøÆæŒœßŁłĐđ]/g, function (letter) { return LETTERS[letter]; });
    return plain.normalize("NFKD").replace(/[\u0300-\u036f]/g, "").toLowerCase().replace(/[^a-z0-9]+/g, "-").replace(/^-+|-+$/g, "").slice(0, 63);
  }

  function follow() {
    var name = document.getElementById("id_name"), slug = document.getElementById("id_slug");
    if (!name || !slug || slug.type === "hidden") return;
    var own = slug.value !== "" && slug.value !== slugOf(name.value);
    slug.addEventListener("input", function () { own = slug.value !== ""; });
    name.addEventListener("input", function () { if (!own) slug.value = slugOf(name.value); });
  }

  function fill(event) {
    var button = event.target.closest && event.target.closest("[data-fill]"), values;
    if (!button) return;
    values = JSON.parse(button.dataset.fill);
    Object.keys(values).forEach(function (name) {
      var field = document.getElementById("id_" + name);
      if (!field) return;
      field.value = values[name];
      field.dispatchEvent(new Event("input", { bubbles: true }));
    });
  }

  document.addEventListener("click", fill);
  document.addEventListener("DOMContentLoaded", function () {
    follow();
    var errors = document.querySelector("[data-focus]");
    if (errors) errors.focus();
  });
})();
