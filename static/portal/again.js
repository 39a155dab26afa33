// On the page that says a store is away: asks whether it is back, then opens the wanted page.
(function () {
  "use strict";
  var every = Number(document.currentScript.dataset.every) * 1000;
  setInterval(function () {
    fetch("/readyz", { cache: "no-store" }).then(function (answer) { if (answer.ok) location.reload(); }).catch(function () { /* still away */ });
  }, every);
})();
