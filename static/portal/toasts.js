// Messages at the lower edge: one without an undo goes after eight seconds, but never under the pointer or the focus;
// one with an undo stays until it is closed. "u" leads to the newest.
(function () {
  "use strict";
  var TP = window.TP = window.TP || {}, LASTS_MS = 8000;

  function box() { return document.getElementById("toasts"); }

  function leave(note) {
    var inside = note.contains(document.activeElement);
    note.remove();
    if (inside) document.getElementById("main").focus();
  }

  // Its time runs only while nobody holds it.
  function runDown(note) {
    var timer = 0, held = 0;
    function start() { if (!held) timer = setTimeout(function () { leave(note); }, LASTS_MS); }
    function hold() { held += 1; clearTimeout(timer); }
    function free() { held = Math.max(0, held - 1); start(); }
    note.addEventListener("mouseenter", hold);
    note.addEventListener("mouseleave", free);
    note.addEventListener("focusin", hold);
    note.addEventListener("focusout", free);
    start();
  }

  TP.toast = function (text) {
    var note = document.createElement("div"), words = document.createElement("span"), close = document.createElement("button");
    note.className = "toast-note";
    words.textContent = text;
    close.type = "button";
    close.textContent = "×";
    close.setAttribute("data-close-toast", "");
    close.setAttribute("aria-label", "Close this message");
    note.append(words, close);
    box().appendChild(note);
    runDown(note);
  };

  TP.toLastToast = function () {
    var buttons = box().querySelectorAll(".toast-note:last-child button");
    if (buttons.length) buttons[0].focus();
    return buttons.length > 0;
  };

  document.addEventListener("click", function (event) {
    var button = event.target.closest && event.target.closest("[data-close-toast]");
    if (button) leave(button.closest(".toast-note"));
  });
  document.addEventListener("keydown", function (event) {
    var note = event.key === "Escape" && event.target.closest && event.target.closest(".toast-note");
    if (note) leave(note);
  });
  document.addEventListener("DOMContentLoaded", function () {
    box().querySelectorAll("[data-goes]").forEach(runDown);
  });
})();
