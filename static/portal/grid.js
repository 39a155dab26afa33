// The grid: a selection that survives paging, live numbers of the shown page. The rest of a list is in rows.js.
(function () {
  "use strict";
  var TP = window.TP, N = TP.numbers, put = TP.put, attr = TP.attr, MOST = 1000, STORE = "tp-picked";
  var grid, picked = {}, all = false;

  function boxes() { return grid ? grid.querySelectorAll('input[name="pick"]') : []; }

  // ---- selection: kept while one pages and sorts, forgotten with another filter
  function recall() {
    var kept;
    try { kept = JSON.parse(sessionStorage.getItem(STORE) || "{}"); } catch (e) { kept = {}; }
    if (kept.filtered !== grid.dataset.filtered) return;
    all = !!kept.all;
    (kept.ids || []).forEach(function (id) { picked[id] = true; });
  }
  function keep() {
    sessionStorage.setItem(STORE, JSON.stringify({ filtered: grid.dataset.filtered, all: all, ids: Object.keys(picked) }));
  }
  function showPicked() {
    var bar = document.getElementById("pick-bar"), head = document.getElementById("pick-page"), shown = boxes(), on = 0, count, go;
    if (!bar) return;
    Array.prototype.forEach.call(shown, function (box) {
      box.checked = all || !!picked[box.value];
      box.closest("tr").classList.toggle("picked", box.checked);
      on += box.checked ? 1 : 0;
    });
    head.checked = on === shown.length;
    head.indeterminate = on > 0 && on < shown.length;
    count = all ? Number(grid.dataset.total) : Object.keys(picked).length;
    bar.hidden = !count;
    put(document.getElementById("pick-count"), count.toLocaleString("en-GB"));
    go = document.getElementById("pick-go");
    go.href = grid.getAttribute("action") + (all ? "?all=1&" + grid.dataset.filtered : "?ids=" + Object.keys(picked).join("."));
    go.toggleAttribute("aria-disabled", !all && count > MOST);
    keep();
  }
  function pick(box, on) {
    if (all) {
      all = false;
      Array.prototype.forEach.call(boxes(), function (other) { picked[other.value] = true; });
    }
    if (on) picked[box.value] = true; else delete picked[box.value];
  }
  function clicked(event) {
    var target = event.target;
    if (target.name === "pick") { pick(target, target.checked); showPicked(); return; }
    if (target.id === "pick-page") {
      Array.prototype.forEach.call(boxes(), function (box) { pick(box, target.checked); });
      showPicked();
    } else if (target.id === "pick-all") { all = true; showPicked(); }
    else if (target.id === "pick-none") { all = false; picked = {}; showPicked(); }
    else if (target.id === "pick-go" && !all && Object.keys(picked).length > MOST) {
      event.preventDefault();
      TP.toast("More than " + MOST.toLocaleString("en-GB") + " single ones: narrow the filters and select all that match instead.");
    }
  }

  // ---- live numbers
  function fullest(use, limit) {
    var best = 0, most = -1;
    for (var i = 0; i < 3; i += 1) { var part = limit[i] > 0 ? use[i] / limit[i] : 0; if (part > most) { most = part; best = i; } }
    return best;
  }
  function room(cell, headroom, limit) {
    var least = 1, node = cell.querySelector(".room");
    for (var i = 0; i < 3; i += 1) if (limit[i] > 0) least = Math.min(least, headroom[i] / limit[i]);
    least = Math.max(0, least);
    if (!node) { node = document.createElement("span"); node.className = "room"; cell.textContent = ""; cell.appendChild(node); }
    put(node, N.percent(least));
    attr(node, "data-room", least < 0.01 ? "none" : least < 0.15 ? "low" : "good");
    attr(node, "title", headroom.map(function (v, d) { return N.amount(v, d) + " free"; }).join(", "));
  }
  function take(row, tr) {
    // Nobody is let in under an entitlement that is not bound: it has no limit, and no room either.
    var served = row[3].some(function (limit) { return limit > 0; }), none = TP.rows.none, cell;
    if ((cell = tr.querySelector('[data-cell="use"]'))) { if (served) TP.bar(cell, row[2], row[3], row[4], row[5], fullest(row[2], row[3])); else none(cell); }
    if ((cell = tr.querySelector('[data-cell="headroom"]'))) { if (served) room(cell, row[6], row[3]); else none(cell); }
    if ((cell = tr.querySelector('[data-cell="debt"]'))) { if (served) TP.rows.debt(cell, row[7]); else none(cell); }
    if ((cell = tr.querySelector('[data-cell="state"] .chip')) && cell.textContent !== row[1]) {
      cell.className = "chip " + row[1];
      put(cell, row[1], true);
    }
  }

  document.addEventListener("DOMContentLoaded", function () {
    grid = document.getElementById("grid");
    if (!grid) return;
    document.addEventListener("click", clicked);
    recall();
    showPicked();
    if (grid.querySelector('[data-cell="use"],[data-cell="headroom"],[data-cell="debt"]')) TP.rows.live(grid, take);
    else { var age = document.getElementById("grid-age"); if (age) age.remove(); }
  });
})();
