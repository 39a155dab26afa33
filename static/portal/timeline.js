// One figure and the list below it point at each other: focus on an event draws its moment, a click on a marker finds it.
// Both are live: points follow the pool's messages, new events are asked for every few seconds and put on top of the list.
(function () {
  "use strict";
  var TP = window.TP, shift = -new Date().getTimezoneOffset() * 60000, MOST = 200, AGAIN_MS = 15000;
  var node, list, chart = null, range = null, last = null, live = null, current = null, told = 0, asked = 0;

  function mark(at) {
    var x = at * 1000 + shift;
    if (!chart) return;
    chart.figure.layout.shapes = at ? [{ type: "line", xref: "x", yref: "paper", x0: x, x1: x, y0: 0, y1: 1, line: { width: 1.5, dash: "dot", color: "@focus" } }] : [];
    TP.charts.refresh(chart);
  }
  function find(key) {
    var link = document.getElementById("event-" + key);
    if (!link) return;
    Array.prototype.forEach.call(document.querySelectorAll(".event.marked"), function (n) { n.classList.remove("marked"); });
    link.classList.add("marked");
    link.focus();
  }

  // ---- points
  function follow(state) {
    var at = state.at, pool = state.pool, debts = {}, oldest;
    if (!chart) { if (Date.now() - asked > AGAIN_MS) load(); return; }
    oldest = at - range.seconds * 1000;
    state.rows.forEach(function (row) { debts[row[0]] = row[7]; });
    chart.figure.data.forEach(function (trace) {
      var meta = trace.meta, all, refused;
      if (meta.role === "event") trim(trace, oldest);
      else if (meta.role === "refused") {
        refused = (pool.refused || {})[meta.code];
        if (refused) TP.charts.count(trace, at, refused, range.bar_s, oldest);
      } else if (meta.role === "headroom") {
        all = pool.capacity[meta.dimension];
        TP.charts.least(trace, at, all > 0 ? Math.min(100, 100 * pool.headroom[meta.dimension] / all) : null, range.step_s, oldest);
      } else if (meta.role === "debt") {
        if (meta.entitlement in debts) TP.charts.mean(trace, at, debts[meta.entitlement], range.step_s, oldest);
      } else TP.charts.mean(trace, at, pool[meta.role], range.step_s, oldest);
    });
    TP.charts.refresh(chart, at);
  }
  function trim(trace, oldest) {
    while (trace.x.length && trace.x[0] < oldest) ["x", "y", "ids", "text"].forEach(function (name) { trace[name].shift(); });
  }
  function message(state) {
    if (!state.pool || !state.pool.capacity || (last && state.at <= last)) return;
    last = state.at;
    if (document.hidden) range = null; else if (range || !chart) follow(state); // what was missed is fetched when it is seen again
  }

  // ---- events
  function known(trace, key) { return trace.ids.indexOf(key) >= 0; }
  function marker(one) {
    if (!chart) return;
    chart.figure.data.forEach(function (trace) {
      var place;
      if (trace.meta.kind !== one[2] || known(trace, one[0])) return;
      for (place = trace.x.length; place > 0 && trace.x[place - 1] > one[1]; place -= 1);
      trace.x.splice(place, 0, one[1]);
      trace.y.splice(place, 0, range && range.lanes[one[2]]);
      trace.ids.splice(place, 0, one[0]);
      trace.text.splice(place, 0, one[3]);
    });
  }
  // New lines go to their place by time. The line that has the focus stays, and stays where it is seen.
  function put(html) {
    var box = document.createElement("template"), added = 0;
    box.innerHTML = html;
    Array.prototype.slice.call(box.content.querySelectorAll("li")).forEach(function (item) {
      var link = item.firstElementChild, at = Number(link.dataset.at), next;
      if (document.getElementById(link.id)) return;
      next = Array.prototype.filter.call(list.children, function (other) { return Number(other.firstElementChild.dataset.at) <= at; })[0];
      list.insertBefore(item, next || null);
      link.classList.add("flash");
      TP.localTimes(item);
      added += 1;
    });
    return added;
  }
  function forget() {
    var oldest = range ? ((last || Date.now()) - range.seconds * 1000) / 1000 : 0, end = list.lastElementChild;
    while (end && (list.children.length > MOST || Number(end.firstElementChild.dataset.at) < oldest) && !end.contains(document.activeElement)) {
      end.remove();
      end = list.lastElementChild;
    }
    list.hidden = !list.children.length;
    document.getElementById("no-events").hidden = !list.hidden;
  }
  function news() {
    if (document.hidden) return;
    TP.charts.load(node.dataset.events).then(function (found) {
      var added = put(found.html), scrolled = list.scrollTop;
      found.markers.forEach(marker);
      TP.put(document.getElementById("sentence"), found.sentence);
      forget();
      list.scrollTop = scrolled;
      if (!added) return;
      TP.charts.refresh(chart);
      told += added;
      // A reader of the page hears how many, once; the lines themselves are not read aloud.
      TP.put(document.getElementById("new-events"), told + (told === 1 ? " new event" : " new events"), true);
    }).catch(function () {}); // the age says that something is amiss, and it is asked again
  }

  function load() {
    asked = Date.now();
    TP.charts.load(node.dataset.url).then(function (found) {
      var ids = [];
      range = found.range;
      if (found.empty) { TP.charts.nothing(node, "Nothing was measured in this time, and nothing happened."); return; }
      if (node.clientWidth < 480) found.timeline.layout.showlegend = false; // the strips have titles, the hover has names
      found.timeline.data.forEach(function (trace) { if (trace.meta.role === "debt") ids.push(String(trace.meta.entitlement)); });
      live.wish(ids);
      if (!chart) {
        chart = TP.charts.draw(node, found.timeline, range.seconds, Math.max(last || 0, range.end), range.step_s);
        node.on("plotly_click", function (event) {
          event.points.some(function (point) { if (point.id !== undefined) find(point.id); return point.id !== undefined; });
        });
      } else TP.charts.draw(node, found.timeline, range.seconds, Math.max(last || 0, range.end), range.step_s);
      if (current) mark(Number(current.dataset.at));
    }).catch(function () { if (!chart) TP.charts.failed(["timeline"]); });
  }

  function pointers() {
    function show(event) {
      var link = event.target.closest ? event.target.closest("[data-at]") : null;
      if (link && link !== current) { current = link; mark(Number(link.dataset.at)); }
    }
    function hide() { if (current) { current = null; mark(0); } }
    list.addEventListener("focusin", show);
    list.addEventListener("mouseover", show);
    list.addEventListener("focusout", hide);
    list.addEventListener("mouseleave", hide);
    // Arrows walk through the list, as in any list of choices.
    list.addEventListener("keydown", function (event) {
      var step = event.key === "ArrowDown" ? 1 : event.key === "ArrowUp" ? -1 : 0, links, at;
      if (!step) return;
      links = Array.prototype.slice.call(list.querySelectorAll(".event"));
      at = links.indexOf(document.activeElement);
      if (at < 0 || !links[at + step]) return;
      event.preventDefault();
      links[at + step].focus();
    });
  }

  document.addEventListener("DOMContentLoaded", function () {
    node = document.getElementById("chart-timeline");
    list = document.getElementById("events");
    if (!node) return;
    pointers();
    live = TP.live({ socket: node.dataset.socket, poll: node.dataset.poll, onMessage: message });
    load();
    document.addEventListener("visibilitychange", function () { if (!document.hidden && !range) { load(); news(); } });
    setInterval(news, Number(node.dataset.every) * 1000);
  });
})();
