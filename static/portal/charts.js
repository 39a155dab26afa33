// Draws figures that the server describes. Colours arrive as names ("@elastic", "@elastic/2" for a lighter shade) and are
// looked up in colours.css at every draw, so that a change of theme is only a redraw. Zoom and legend choices are kept.
(function () {
  "use strict";
  var TP = window.TP = window.TP || {};
  var CONFIG = { displayModeBar: false, responsive: true, doubleClick: "reset" };
  var SHADES = [0, 0.3, 0.52, 0.7];
  var drawn = [];

  function rgb(text) {
    var hex = /^#([0-9a-f]{6})$/i.exec(text), n;
    if (!hex) return null;
    n = parseInt(hex[1], 16);
    return [n >> 16, (n >> 8) & 255, n & 255];
  }
  function palette() {
    var style = getComputedStyle(document.documentElement), surface = rgb(style.getPropertyValue("--tp-surface").trim()), known = {};
    return function (name) {
      if (known[name]) return known[name];
      var parts = name.slice(1).split("/"), text = style.getPropertyValue("--tp-" + parts[0]).trim() || "#888888";
      var base = rgb(text), mix = SHADES[Number(parts[1] || 0) % SHADES.length];
      if (base && mix && surface) {
        text = "rgb(" + base.map(function (v, i) { return Math.round(v * (1 - mix) + surface[i] * mix); }).join(",") + ")";
      }
      known[name] = text;
      return text;
    };
  }
  // Shared arrays of numbers are passed on as they are: only the small descriptions around them are copied.
  function coloured(value, look) {
    if (typeof value === "string") return value.charAt(0) === "@" ? look(value) : value;
    if (Array.isArray(value)) {
      return value.length && typeof value[0] === "object" && value[0] !== null ? value.map(function (v) { return coloured(v, look); }) : value.slice();
    }
    if (value && typeof value === "object") {
      var copy = {};
      Object.keys(value).forEach(function (key) { if (key !== "seen") copy[key] = coloured(value[key], look); });
      return copy;
    }
    return value;
  }
  // Plotly has no time zones: dates are written as the reader's own wall clock.
  var shift = TP.zoneShift(Date.now());
  function localX(trace) {
    if (trace.x) trace.x = trace.x.map(function (ms) { return ms + shift; });
    return trace;
  }
  // A young system does not show an empty quarter of an hour: the picture begins with the first point, two minutes at least.
  function begin(figure, entry) {
    var from = entry.end - entry.window * 1000, first = entry.end;
    figure.data.forEach(function (trace) { var level = trace.meta && /^(cap|base)$/.test(trace.meta.role); // drawn across, known or not
      if (!level && trace.x && trace.x.length && trace.x[0] < first) first = trace.x[0]; });
    return Math.max(from, Math.min(first, entry.end - 120000));
  }
  // No data is not a straight line from the last to the next: where steps are missing a line is broken, an area is at zero.
  function broken(trace, step) {
    var area = trace.stackgroup || trace.fill, held = trace.line && trace.line.shape === "hv", x = [], y = [], before = null;
    if (trace.mode !== "lines" || !trace.x || trace.x.length < 3) return trace; // two points are a level drawn across
    function add(at, value) { x.push(at); y.push(value); }
    trace.x.forEach(function (at, i) {
      if (trace.connectgaps && trace.y[i] === null) return;
      if (before !== null && at - before > 3.5 * step) {
        if (area) add(before + (held ? step : 1), 0);
        if (!trace.stackgroup) add(before + (held && !area ? step : 2), held && !area ? trace.y[i - 1] : null);
        if (held && !area) add(before + step + 1, null);
        if (area && !held) add(at - 1, 0);
      }
      add(at, trace.y[i]);
      before = at;
    });
    trace.x = x;
    trace.y = y;
    trace.connectgaps = false;
    return trace;
  }
  function redraw(entry) {
    var look = palette(), figure = entry.figure, layout = coloured(figure.layout, look), step = entry.step * 1000;
    var data = coloured(figure.data, look).map(localX);
    if (step) data = data.map(function (trace) { return broken(trace, step); });
    // Plotly turns the labels of a crowded time axis round: rather fewer of them.
    if (layout.xaxis && layout.xaxis.nticks) layout.xaxis.nticks = Math.max(3, Math.min(layout.xaxis.nticks, Math.floor(entry.node.clientWidth / 85)));
    if (entry.node.clientWidth < 480) layout.legend = Object.assign({}, layout.legend, { entrywidth: 74, font: { size: 11 } });
    if (entry.window && entry.end) {
      layout.xaxis.range = [begin(figure, entry) + shift, entry.end + shift];
    }
    if (entry.zoom) layout.xaxis.range = entry.zoom;
    window.Plotly.react(entry.node, data, layout, CONFIG);
    if (!entry.watched) watch(entry);
  }
  // The window moves on with each message: Plotly would take that for a wish to see it, and forget what one zoomed to.
  function watch(entry) {
    var back = false;
    entry.watched = true;
    entry.node.on("plotly_doubleclick", function () { back = true; });
    entry.node.on("plotly_relayout", function (change) {
      if (back) { back = false; entry.zoom = null; redraw(entry); }
      else if ("xaxis.range[0]" in change) entry.zoom = [change["xaxis.range[0]"], change["xaxis.range[1]"]];
    });
  }

  TP.charts = {
    // window: seconds shown; end: epoch ms of the right edge; step_s: seconds between points, where they are even. Optional.
    draw: function (node, figure, window_, end, step_s) {
      if (!node) return null;
      var entry = drawn.filter(function (d) { return d.node === node; })[0];
      if (!entry) { entry = { node: node }; drawn.push(entry); }
      entry.figure = figure;
      entry.window = window_;
      entry.step = step_s || 0;
      entry.end = end;
      node.classList.remove("waiting");
      node.textContent = "";
      redraw(entry);
      return entry;
    },
    refresh: function (entry, end) {
      if (!entry || document.hidden) return;
      if (end) entry.end = end;
      redraw(entry);
    },
    // Appends one point to a trace and forgets what has left the window.
    push: function (trace, x, y, oldest) {
      trace.x.push(x);
      trace.y.push(y);
      while (trace.x.length > 2 && trace.x[1] < oldest) { trace.x.shift(); trace.y.shift(); if (trace.text) trace.text.shift(); }
    },
    // The mean of a step: its point moves until the step is over, as the history's points were made. every_s: seconds
    // between two values. A value that is unknown (null) makes a gap, never a wrong mean.
    mean: function (trace, at, y, step_s, oldest, every_s) {
      var bin = Math.floor(at / (step_s * 1000)) * step_s * 1000, end = trace.x.length - 1;
      if (end >= 0 && trace.x[end] >= bin && y === null) return;
      if (end >= 0 && trace.x[end] >= bin && (trace.y[end] === null || !/^(tenant|use)$/.test(trace.meta.role) && !trace.meta.mean)) {
        trace.y[end] = y; // levels are what they were last, only use and what says so is averaged
      } else if (end >= 0 && trace.x[end] >= bin) {
        trace.seen = (trace.seen || Math.max(1, Math.round((at - bin) / 1000 / (every_s || 1)))) + 1;
        trace.y[end] += (y - trace.y[end]) / trace.seen;
      } else {
        trace.seen = 1;
        TP.charts.push(trace, bin, y, oldest);
      }
    },
    // The tightest moment of a step: its point only falls until the step is over, as the history's points were made.
    least: function (trace, at, y, step_s, oldest) {
      var bin = Math.floor(at / (step_s * 1000)) * step_s * 1000, end = trace.x.length - 1;
      if (y === null) return;
      if (end >= 0 && trace.x[end] >= bin) trace.y[end] = trace.y[end] === null ? y : Math.min(trace.y[end], y);
      else TP.charts.push(trace, bin, y, oldest);
    },
    // What a page does when its figures could not be fetched.
    failed: function (names) {
      names.forEach(function (name) {
        TP.charts.nothing(document.getElementById("chart-" + name), "The chart could not be loaded. Reload the page to try again.");
      });
    },
    // Adds a count to the bar of its span of time.
    count: function (trace, at, amount, bar_s, oldest) {
      var middle = Math.floor(at / (bar_s * 1000)) * bar_s * 1000 + bar_s * 500, last = trace.x.length - 1;
      if (last >= 0 && trace.x[last] === middle) trace.y[last] += amount;
      else { trace.x.push(middle); trace.y.push(amount); }
      if (amount) trace.showlegend = true;
      while (trace.x.length && trace.x[0] < oldest) { trace.x.shift(); trace.y.shift(); }
    },
    nothing: function (node, sentence) {
      if (!node) return;
      node.classList.remove("waiting");
      node.innerHTML = "";
      var box = document.createElement("div");
      box.className = "nothing";
      box.textContent = sentence;
      node.appendChild(box);
    },
    load: function (url) {
      return fetch(url, { headers: { Accept: "application/json" }, credentials: "same-origin" }).then(function (response) {
        if (response.status === 401) { window.location.reload(); }
        if (!response.ok) throw new Error("HTTP " + response.status);
        return response.json();
      });
    },
    // The buttons that choose the dimension of a chart; the choice stays in the address.
    dimensions: function (chosen) {
      Array.prototype.forEach.call(document.querySelectorAll("#dimensions button"), function (button) {
        button.addEventListener("click", function () {
          Array.prototype.forEach.call(button.parentNode.children, function (b) { b.setAttribute("aria-pressed", String(b === button)); });
          var address = new URL(window.location.href);
          address.searchParams.set("dimension", button.dataset.dimension);
          window.history.replaceState(null, "", address);
          chosen(button.dataset.dimension);
        });
      });
    }
  };

  document.addEventListener("tp:theme", function () { drawn.forEach(redraw); });
  document.addEventListener("visibilitychange", function () { if (!document.hidden) drawn.forEach(redraw); });

  // Charts without a live part say where their figure is.
  document.addEventListener("DOMContentLoaded", function () {
    Array.prototype.forEach.call(document.querySelectorAll("[data-figure]"), function (node) {
      TP.charts.load(node.dataset.figure).then(function (found) {
        if (found.empty) TP.charts.nothing(node, "Nothing to draw in this time yet.");
        else TP.charts.draw(node, found[node.dataset.name], found.range.seconds, found.range.end, found.range.step_s);
      }).catch(function () { TP.charts.nothing(node, "The chart could not be loaded. Reload the page to try again."); });
    });
  });
})();
