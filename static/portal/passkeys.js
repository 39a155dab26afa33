// Passkeys: a form with data-passkey asks the browser and posts its answer. The options lie in the form as JSON, or
// are fetched from data-options when the button is pressed.
(function () {
  "use strict";

  function options(form) {
    var given = form.querySelector("script[type='application/json']");
    if (given) return Promise.resolve(JSON.parse(given.textContent));
    return fetch(form.dataset.options, { headers: { Accept: "application/json" }, credentials: "same-origin" })
      .then(function (answer) {
        if (!answer.ok) throw new Error("The server gave no challenge. Wait a minute, then try again.");
        return answer.json();
      })
      .then(function (data) { return data.request_options; });
  }

  // A passkey for signing in without a password must be found without a name, and must check who holds it.
  function alone(form, found) {
    var box = form.querySelector("[name=passwordless]"), wanted = found.publicKey.authenticatorSelection || {};
    wanted.residentKey = box && box.checked ? "required" : "discouraged";
    wanted.requireResidentKey = !!(box && box.checked);
    if (box && box.checked) wanted.userVerification = "required";
    found.publicKey.authenticatorSelection = wanted;
    return found;
  }

  function say(form, error) {
    var line = form.querySelector("[data-passkey-says]");
    var given = error && error.name === "NotAllowedError" ? "Cancelled, or no fitting passkey on this device." :
      error && error.name === "InvalidStateError" ? "This device has a passkey for your account already." :
      (error && error.message) || "The browser did not answer.";
    line.textContent = given;
    line.hidden = false;
  }

  function go(form) {
    form.querySelector("[data-passkey-says]").hidden = true;
    if (/^[\d.]+$|^\[/.test(location.hostname)) {
      say(form, new Error("Passkeys belong to a name, not to a number: open the portal by its name, here http://localhost:" + location.port + "."));
      return;
    }
    if (!window.PublicKeyCredential) {
      say(form, new Error("This browser cannot use passkeys here. It needs HTTPS, or the address localhost."));
      return;
    }
    options(form).then(function (found) {
      return form.dataset.passkey === "create" ? window.webauthnJSON.create(alone(form, found)) : window.webauthnJSON.get(found);
    }).then(function (credential) {
      form.querySelector("[name=credential]").value = JSON.stringify(credential);
      form.submit();
    }).catch(function (error) { say(form, error); });
  }

  document.addEventListener("click", function (event) {
    var button = event.target.closest && event.target.closest("[data-passkey-go]");
    if (button) go(button.form);
  });
})();
