// On every page: theme switch, small-screen menu, local times, keyboard, copying, dialogs.
(function () {
  "use strict";
  var TP = window.TP = window.TP || {};

  function each(selector, act, root) { Array.prototype.forEach.call((root || document).querySelectorAll(selector), act); }

  // The zone of the account page; without one, the browser's own.
  var zone = document.documentElement.dataset.zone || undefined;

  // Milliseconds from UTC to the reader's wall clock at a moment.
  TP.zoneShift = function (at) {
    if (!zone) return -new Date(at).getTimezoneOffset() * 60000;
    var wall = new Date(at).toLocaleString("sv-SE", { timeZone: zone });
    return new Date(wall.replace(" ", "T") + "Z") - Math.floor(at / 1000) * 1000;
  };

  TP.localTimes = function (root) {
    each("time[datetime]", function (node) {
      var at = new Date(node.getAttribute("datetime"));
      if (isNaN(at)) return;
      var time = at.toLocaleTimeString("en-GB", { timeZone: zone });
      if (node.dataset.style === "time" && Date.now() - at < 86400000) node.textContent = time;
      else node.textContent = at.toLocaleDateString("sv-SE", { timeZone: zone }) + " " + time.slice(0, 5);
    }, root);
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

  // The box lies in the menu, which is folded away on small screens.
  function toFinder() {
    var input = document.getElementById("finder-input"), button = document.getElementById("menu-button");
    if (!input) return false;
    if (!input.offsetParent && button) button.click();
    input.focus();
    input.select();
    return true;
  }

  function keyboard() {
    var waiting = 0, help = document.getElementById("help");
    document.addEventListener("keydown", function (event) {
      var target = event.target;
      if (event.ctrlKey || event.metaKey || event.altKey || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName)) return;
      if (event.key !== "g" && Date.now() - waiting < 1200) {
        var link = document.querySelector('[data-shortcut="g ' + event.key + '"]');
        waiting = 0;
        if (link) window.location.href = link.href;
      } else if (event.key === "g") {
        waiting = Date.now();
      } else if (event.key === "/") {
        if (toFinder()) event.preventDefault();
      } else if (event.key === "f") {
        var filter = document.querySelector("main input[type=search]");
        if (filter) { event.preventDefault(); filter.focus(); filter.select(); }
      } else if (event.key === "u") {
        if (TP.toLastToast()) event.preventDefault();
      } else if (event.key === "?" && help && help.showModal) {
        help.showModal();
      }
    });
  }

  // Paper is light, and says from where and when it is.
  function printing() {
    var root = document.documentElement, before = "", foot = document.getElementById("printed"), where = foot && foot.textContent;
    window.addEventListener("beforeprint", function () {
      if (foot) foot.textContent = location.origin + where + " · " + new Date().toLocaleString("sv-SE", { timeZone: zone });
      before = root.getAttribute("data-bs-theme");
      if (before !== "light") { root.setAttribute("data-bs-theme", "light"); document.dispatchEvent(new CustomEvent("tp:theme")); }
    });
    window.addEventListener("afterprint", function () {
      if (before && before !== "light") { root.setAttribute("data-bs-theme", before); document.dispatchEvent(new CustomEvent("tp:theme")); }
    });
  }

  // One listener for all of them, so that parts which arrive later work as well.
  function clicks(event) {
    var node = event.target.closest && event.target.closest("[data-close],[data-open],[data-copy]");
    if (!node) return;
    if (node.hasAttribute("data-close")) node.closest("dialog").close();
    else if (node.dataset.open) document.getElementById(node.dataset.open).showModal();
    else if (node.dataset.copy) {
      navigator.clipboard.writeText(document.getElementById(node.dataset.copy).textContent.trim());
      TP.toast("Copied");
    }
  }

  // A click anywhere in a row opens what the row is of, or folds its details; what is in the row keeps its own clicks.
  function rowClicks(event) {
    var target = event.target, row = target.closest && target.closest("table.opens tbody tr"), found;
    if (!row || target.closest("a,button,input,label,select,details,.pick") || String(window.getSelection())) return;
    found = row.querySelector("a.open") || row.querySelector("details") || row.querySelector("th a, td a");
    if (!found) return;
    if (found.tagName === "DETAILS") found.open = !found.open;
    else if (event.ctrlKey || event.metaKey) window.open(found.href);
    else found.click();
  }

  // A destructive form stays shut until its word is typed.
  function confirmWord(event) {
    if (!event.target.matches || !event.target.matches("[data-confirm-word]")) return;
    var form = event.target.form;
    form.querySelector("[type=submit]").disabled = event.target.value.trim() !== form.dataset.confirm;
  }

  document.addEventListener("click", clicks);
  document.addEventListener("click", rowClicks);
  document.addEventListener("input", confirmWord);
  document.addEventListener("htmx:afterSwap", function (event) { TP.localTimes(event.target); });

  document.addEventListener("DOMContentLoaded", function () {
    each("[data-theme-set]", function (button) {
      button.addEventListener("click", function () { TP.theme.set(button.dataset.themeSet); themes(); });
    });
    each("form[data-autosubmit]", function (form) { form.addEventListener("change", function () { form.submit(); }); });
    each("[data-focus]", function (node) { node.focus(); });
    themes();
    menu();
    printing();
    keyboard();
    TP.localTimes();
  });
})();
