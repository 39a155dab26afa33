// On every page: theme switch, small-screen menu, local times, keyboard, toasts.
(function () {
  "use strict";
  var TP = window.TP = window.TP || {};

  function each(selector, act, root) { Array.prototype.forEach.call((root || document).querySelectorAll(selector), act); }

  TP.localTimes = function (root) {
    each("time[datetime]", function (node) {
      var at = new Date(node.getAttribute("datetime"));
      if (isNaN(at)) return;
      var time = at.toLocaleTimeString("en-GB");
      if (node.dataset.style === "time" && Date.now() - at < 86400000) node.textContent = time;
      else node.textContent = at.toLocaleDateString("sv-SE") + " " + time.slice(0, 5);
    }, root);
  };

  TP.toast = function (text) {
    var box = document.getElementById("toasts"), note = document.createElement("div"), close = document.createElement("button");
    note.className = "toast-note";
    note.textContent = text;
    close.type = "button";
    close.textContent = "×";
    close.setAttribute("aria-label", "Close this message");
    close.addEventListener("click", function () { note.remove(); });
    note.appendChild(close);
    box.appendChild(note);
    setTimeout(function () { note.remove(); }, 8000);
  };

  function themes() {
    each("[data-theme-set]", function (button) {
      button.setAttribute("aria-pressed", String(button.dataset.themeSet === TP.theme.choice()));
    });
  }

  function menu() {
    var button = document.getElementById("menu-button"), side = document.getElementById("side");
    if (!button || !side) return;
    button.addEventListener("click", function () {
      var open = side.classList.toggle("open");
      button.setAttribute("aria-expanded", String(open));
    });
  }

  function keyboard() {
    var waiting = 0, help = document.getElementById("help");
    document.addEventListener("keydown", function (event) {
      var target = event.target;
      if (event.ctrlKey || event.metaKey || event.altKey || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName)) return;
      if (event.key === "/") {
        var search = document.querySelector("input[type=search]");
        if (search) { event.preventDefault(); search.focus(); }
      } else if (event.key === "?" && help && help.showModal) {
        help.showModal();
      } else if (event.key === "g") {
        waiting = Date.now();
      } else if (Date.now() - waiting < 1200) {
        var link = document.querySelector('[data-shortcut="g ' + event.key + '"]');
        waiting = 0;
        if (link) window.location.href = link.href;
      }
    });
  }

  // One listener for all of them, so that parts which arrive later work as well.
  function clicks(event) {
    var node = event.target.closest && event.target.closest("[data-close],[data-open],[data-copy],[data-close-toast]");
    if (!node) return;
    if (node.hasAttribute("data-close")) node.closest("dialog").close();
    else if (node.hasAttribute("data-close-toast")) node.closest(".toast-note").remove();
    else if (node.dataset.open) document.getElementById(node.dataset.open).showModal();
    else if (node.dataset.copy) {
      navigator.clipboard.writeText(document.getElementById(node.dataset.copy).textContent.trim());
      TP.toast("Copied");
    }
  }

  // A destructive form stays shut until its word is typed.
  function confirmWord(event) {
    if (!event.target.matches || !event.target.matches("[data-confirm-word]")) return;
    var form = event.target.form;
    form.querySelector("[type=submit]").disabled = event.target.value.trim() !== form.dataset.confirm;
  }

  document.addEventListener("click", clicks);
  document.addEventListener("input", confirmWord);
  document.addEventListener("htmx:afterSwap", function (event) { TP.localTimes(event.target); });

  document.addEventListener("DOMContentLoaded", function () {
    each("[data-theme-set]", function (button) {
      button.addEventListener("click", function () { TP.theme.set(button.dataset.themeSet); themes(); });
    });
    each("form[data-autosubmit]", function (form) { form.addEventListener("change", function () { form.submit(); }); });
    themes();
    menu();
    keyboard();
    TP.localTimes();
  });
})();
