// The grid: a selection that survives paging, row clicks, drop-downs that close, live numbers of the shown page.
(function () {
  "use strict";
  var TP = window.TP, N = TP.numbers, put = TP.put, attr = TP.attr, share = TP.share, mark = TP.mark;
  var LIVE_MS = 3000, STALE_MS = 10000, MOST = 1000, STORE = "tp-picked";
  var grid, picked = {}, all = false, at = 0, opened = Date.now();

  function each(selector, act) { Array.prototype.forEach.call(document.querySelectorAll(selector), act); }
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
    var target = event.target, row;
    if (target.name === "pick") { pick(target, target.checked); showPicked(); return; }
    if (target.id === "pick-page") {
      Array.prototype.forEach.call(boxes(), function (box) { pick(box, target.checked); });
      showPicked();
    } else if (target.id === "pick-all") { all = true; showPicked(); }
    else if (target.id === "pick-none") { all = false; picked = {}; showPicked(); }
    else if (target.id === "pick-go" && !all && Object.keys(picked).length > MOST) {
      event.preventDefault();
      TP.toast("More than " + MOST.toLocaleString("en-GB") + " single ones: narrow the filters and select all that match instead.");
    } else if ((row = target.closest("tr[data-row]")) && !target.closest("a,button,input,label,.pick") && !String(window.getSelection())) {
      row.querySelector("a.open").click();
    }
  }

  // ---- live numbers
  function fullest(use, limit) {
    var best = 0, most = -1;
    for (var i = 0; i < 3; i += 1) { var part = limit[i] > 0 ? use[i] / limit[i] : 0; if (part > most) { most = part; best = i; } }
    return best;
  }
  // Nobody is let in under an entitlement that is not bound: it has no limit, and no room either.
  function none(cell) {
    if (cell.textContent.trim() === "–") return;
    cell.textContent = "";
    var mark = document.createElement("span");
    mark.className = "muted";
    mark.textContent = "–";
    cell.appendChild(mark);
    cell.classList.remove("owed");
  }
  function bar(cell, use, limit, cap, base) {
    var i = fullest(use, limit), box = cell.querySelector(".bullet"), whole = Math.max(cap[i], limit[i], use[i], base[i]), svg;
    if (!box) {
      box = document.getElementById("bullet-shape").content.firstElementChild.cloneNode(true);
      cell.textContent = "";
      cell.appendChild(box);
    }
    svg = box.querySelector("svg");
    put(box.querySelector(".nums"), N.of(use[i], limit[i], i));
    attr(box, "title", "use " + N.exact(use[i]) + ", limit " + N.exact(limit[i]) + ", cap " + N.exact(cap[i]) + ", baseline " + N.exact(base[i], N.units[i]));
    attr(svg.querySelector(".use"), "width", share(use[i], whole).toFixed(2));
    mark(svg.querySelector(".base"), share(base[i], whole));
    attr(svg.querySelector(".base"), "visibility", base[i] > 0 ? "visible" : "hidden");
    mark(svg.querySelector(".limit"), share(limit[i], whole));
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
  function debt(cell, value) {
    put(cell, N.debt(value));
    cell.classList.toggle("owed", value > 0.005);
  }
  function take(found) {
    if (found.at) at = Math.abs(Date.now() - found.at) < 600000 ? Math.min(Date.now(), found.at) : Date.now();
    found.rows.forEach(function (row) {
      var tr = grid.querySelector('tr[data-row="' + row[0] + '"]'), served = row[3].some(function (limit) { return limit > 0; }), cell;
      if (!tr) return;
      if ((cell = tr.querySelector('[data-cell="use"]'))) { if (served) bar(cell, row[2], row[3], row[4], row[5]); else none(cell); }
      if ((cell = tr.querySelector('[data-cell="headroom"]'))) { if (served) room(cell, row[6], row[3]); else none(cell); }
      if ((cell = tr.querySelector('[data-cell="debt"]'))) { if (served) debt(cell, row[7]); else none(cell); }
      if ((cell = tr.querySelector('[data-cell="state"] .chip')) && cell.textContent !== row[1]) {
        cell.className = "chip " + row[1];
        put(cell, row[1], true);
      }
    });
  }
  function refresh() {
    var ids = Array.prototype.map.call(grid.querySelectorAll("tr[data-row]"), function (tr) { return tr.dataset.row; });
    if (document.hidden || !ids.length) return;
    fetch(grid.dataset.live + "?ids=" + ids.join(","), { headers: { Accept: "application/json" }, credentials: "same-origin" })
      .then(function (r) { return r.ok ? r.json() : null; }).then(function (found) { if (found) take(found); age(); }).catch(age);
  }
  function age() {
    var node = document.getElementById("grid-age"), since = at ? Date.now() - at : null, seconds = Math.round((since || 0) / 1000);
    if (!node) return;
    if (since === null) {
      attr(node, "data-state", Date.now() - opened > STALE_MS ? "lost" : "waiting");
      put(node, Date.now() - opened > STALE_MS ? "no live data" : "waiting for data");
    } else {
      attr(node, "data-state", since > 30000 ? "lost" : since > STALE_MS ? "stale" : "live");
      put(node, since > STALE_MS ? seconds + " s old" : seconds <= 0 ? "live · now" : "live · " + seconds + " s ago");
    }
  }

  // ---- drop-downs close when one looks elsewhere
  function elsewhere(event) {
    each("details.drop[open]", function (node) { if (!node.contains(event.target)) node.removeAttribute("open"); });
  }

  document.addEventListener("click", elsewhere);
  document.addEventListener("keydown", function (event) {
    if (event.key !== "Escape") return;
    each("details.drop[open]", function (node) { node.removeAttribute("open"); node.querySelector("summary").focus(); });
  });
  document.addEventListener("DOMContentLoaded", function () {
    each("#filters select:not(.drop-body select)", function (node) { node.addEventListener("change", function () { node.form.submit(); }); });
    grid = document.getElementById("grid");
    if (!grid) return;
    document.addEventListener("click", clicked);
    recall();
    showPicked();
    if (!grid.querySelector('[data-cell="use"],[data-cell="headroom"],[data-cell="debt"]')) { var a = document.getElementById("grid-age"); if (a) a.remove(); return; }
    var seen = Number((document.getElementById("grid-age") || { dataset: {} }).dataset.at || 0);
    if (seen) at = seen;
    age();
    refresh();
    setInterval(refresh, LIVE_MS);
    setInterval(age, 1000);
  });
})();
