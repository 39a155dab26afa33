// One live connection per page: websocket with back-off, the age beside it, and polling while it is lost.
(function () {
  "use strict";
  var TP = window.TP = window.TP || {};
  var STALE_MS = 5000, LOST_MS = 30000, POLL_MS = 5000, LONGEST_WAIT_MS = 15000;

  // options: socket (path), poll (url), onMessage(state, isFirst). The answer's wish(ids) names the rows the page shows.
  TP.live = function (options) {
    var age = document.getElementById("age"), banner = document.getElementById("banner");
    var socket = null, tries = 0, heard = 0, first = true, closed = false, opened = Date.now(), polled = 0, wished = "";

    function take(text) {
      var state;
      try { state = JSON.parse(text); } catch (e) { return; }
      if (!state || state.v !== 1) return;
      // The age is counted from the message's own time where both clocks agree, else from its arrival.
      heard = Math.abs(Date.now() - state.at) < 600000 ? Math.min(Date.now(), state.at) : Date.now();
      options.onMessage(state, first);
      first = false;
      show();
    }

    function connect() {
      if (closed) return;
      var scheme = window.location.protocol === "https:" ? "wss://" : "ws://";
      socket = new WebSocket(scheme + window.location.host + options.socket);
      socket.onopen = function () { tries = 0; tell(); };
      socket.onmessage = function (event) { take(event.data); };
      socket.onclose = function (event) {
        socket = null;
        if (event.code === 4403 || event.code === 4401) { closed = true; denied(); return; }
        tries += 1;
        // Back-off with jitter: a restarted server is not met by everybody at once.
        setTimeout(connect, Math.min(LONGEST_WAIT_MS, 500 * Math.pow(1.7, tries)) * (0.7 + 0.6 * Math.random()));
      };
    }

    function tell() {
      if (wished && socket && socket.readyState === 1) socket.send('{"rows":[' + wished + "]}");
    }

    function denied() {
      if (banner) { banner.hidden = false; banner.lastElementChild.textContent = "You may no longer see this live view. Sign in again."; }
    }

    function poll() {
      if (document.hidden || Date.now() - polled < POLL_MS) return;
      polled = Date.now();
      fetch(options.poll + (wished ? (options.poll.indexOf("?") < 0 ? "?" : "&") + "rows=" + wished : ""), { headers: { Accept: "application/json" }, credentials: "same-origin" })
        .then(function (r) { return r.ok ? r.text() : ""; }).then(function (text) { if (text) take(text); }).catch(function () {});
    }

    function set(state, text) {
      if (!age) return;
      if (age.dataset.state !== state) age.dataset.state = state;
      if (age.textContent !== text) age.textContent = text;
    }

    function show() {
      var since = heard ? Date.now() - heard : null, up = socket && socket.readyState === 1;
      var seconds = since === null ? 0 : Math.round(since / 1000);
      var lost = since === null ? Date.now() - opened > LOST_MS : since > LOST_MS;
      if (banner && !closed) banner.hidden = !lost;
      if (lost) {
        set("lost", seconds ? "no data for " + seconds + " s" : "no data");
        poll();
      } else if (since === null) {
        set("waiting", up ? "waiting for data" : "connecting");
      } else if (since > STALE_MS || !up) {
        set("stale", up ? seconds + " s old" : "reconnecting · " + seconds + " s old");
        if (!up && since > STALE_MS) poll();
      } else {
        set("live", seconds <= 0 ? "live · now" : "live · " + seconds + " s ago");
      }
    }

    connect();
    setInterval(show, 1000);
    window.addEventListener("pagehide", function () { closed = true; if (socket) socket.close(); });
    return {
      take: take,
      wish: function (ids) {
        var text = ids.slice(0, 600).join(",");
        if (text === wished) return;
        wished = text;
        tell();
      }
    };
  };

  // Changes a text in place; a short highlight tells the eye where.
  TP.put = function (node, text, flash) {
    if (!node || node.textContent === text) return;
    node.textContent = text;
    if (flash) {
      node.classList.remove("flash");
      void node.offsetWidth;
      node.classList.add("flash");
    }
  };
  TP.attr = function (node, name, value) {
    if (node && node.getAttribute(name) !== value) node.setAttribute(name, value);
  };

  // What bars and gauges are drawn with: a percentage of a whole, a tick at one, the word of a free share.
  TP.share = function (value, whole) { return whole > 0 ? Math.min(100, Math.max(0, 100 * value / whole)) : 0; };
  TP.mark = function (line, at) { TP.attr(line, "x1", at.toFixed(2)); TP.attr(line, "x2", at.toFixed(2)); };
  // One dimension's use under its limit, as components/bar.html draws it; a cell that had none gets one.
  TP.bar = function (cell, use, limit, cap, base, index) {
    var box = cell.querySelector(".bullet"), N = TP.numbers, whole = Math.max(cap[index], limit[index], use[index], base[index]), svg;
    if (!box) {
      box = document.getElementById("bullet-shape").content.firstElementChild.cloneNode(true);
      cell.textContent = "";
      cell.appendChild(box);
    }
    svg = box.querySelector("svg");
    TP.put(box.querySelector(".nums"), N.of(use[index], limit[index], index));
    TP.attr(box, "title", "use " + N.exact(use[index]) + ", limit " + N.exact(limit[index]) + ", cap " + N.exact(cap[index]) + ", baseline " + N.exact(base[index], N.units[index]));
    TP.attr(svg.querySelector(".use"), "width", TP.share(use[index], whole).toFixed(2));
    TP.mark(svg.querySelector(".base"), TP.share(base[index], whole));
    TP.attr(svg.querySelector(".base"), "visibility", base[index] > 0 ? "visible" : "hidden");
    TP.mark(svg.querySelector(".limit"), TP.share(limit[index], whole));
  };
  TP.room = function (free) { return free < 0.01 ? "none" : free < 0.15 ? "low" : "good"; };
})();
