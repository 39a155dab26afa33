// The twin of portal/dashboards/numbers.py; tests/browser compares both on one table of cases.
(function () {
  "use strict";
  var PREFIXES = ["", "k", "M", "G", "T", "P"];
  var BINARY = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
  var SINGULAR = { slots: "slot", tokens: "token", replicas: "replica" };
  var GAP = "\u00a0", NONE = "–", UNITS = ["tok/s", "B", "slots"];

  function digits(value, keepZeros) {
    if (value === 0) return "0";
    var size = Number(Math.abs(value).toPrecision(3));
    var places = size >= 0.001 ? Math.max(0, 2 - Math.floor(Math.log10(size))) : 3;
    var text = value.toFixed(Math.min(places, 3));
    if (!keepZeros && text.indexOf(".") >= 0) text = text.replace(/0+$/, "").replace(/\.$/, "");
    return text === "-0" || text === "" ? "0" : text;
  }
  function scale(value, base, names) {
    var step = 0;
    while (Math.abs(value) >= 999.5 && step < names.length - 1) { value /= base; step += 1; }
    return [value, names[step]];
  }
  function si(value, unit) {
    if (value === null || value === undefined) return NONE;
    var s = scale(value, 1000, PREFIXES);
    var text = digits(s[0], s[1] !== "");
    return [text, s[1], (text === "1" && SINGULAR[unit]) || unit || ""].filter(Boolean).join(GAP);
  }
  function kv(value) {
    if (value === null || value === undefined) return NONE;
    var s = scale(value, 1024, BINARY);
    return digits(s[0], s[1] !== "B") + GAP + s[1];
  }
  function of(part, whole, dimension) {
    var s, factor;
    if (dimension === 1) {
      s = scale(whole || part, 1024, BINARY);
      factor = s[0] / (whole || part || 1);
      return digits(part * factor, s[1] !== "B") + " of " + digits(whole * factor, s[1] !== "B") + GAP + s[1];
    }
    return si(part) + " of " + si(whole, UNITS[dimension]);
  }
  function percent(share) {
    if (share === null || share === undefined) return NONE;
    if (share > 0 && share < 0.01) return "<1" + GAP + "%";
    return Math.round(share * 100) + GAP + "%";
  }
  function exact(value, unit) {
    if (value === null || value === undefined) return "no data";
    return (value.toLocaleString("en-GB", { maximumFractionDigits: 3 }) + " " + (unit || "")).trim();
  }
  function signed(value, unit) {
    if (value === null || value === undefined) return NONE;
    return (value > 0 ? "+" : value < 0 ? "−" : "") + si(Math.abs(value), unit);
  }
  // The twin of series.debt_words.
  function debt(value) {
    return value > 0.005 ? "owed " + percent(value) : value < -0.005 ? "above " + percent(-value) : "even";
  }
  window.TP = window.TP || {};
  window.TP.numbers = {
    digits: digits, si: si, kv: kv, of: of, percent: percent, exact: exact, signed: signed, debt: debt, units: UNITS,
    amount: function (value, dimension) { return dimension === 1 ? kv(value) : si(value, UNITS[dimension]); }
  };
})();
