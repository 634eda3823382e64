// Passkeys: asked of the browser, answered to the API. Pages show what is here only where both can.

const offered = "parseRequestOptionsFromJSON" in (window.PublicKeyCredential ?? {}) && "credentials" in navigator;
const STOPPED = "No passkey was used. Try again, or use another way.";
const KNOWN = "There is a passkey of yours on this device already.";
const trouble = document.querySelector("[data-trouble]");
let waiting = null; // what fills in the address; a button takes its place

async function call(path, body = {}) {
  const answer = await fetch(`/api/v1/auth/${path}`, {
    method: "POST",
    headers: { "Content-Type": "application/json", Accept: "application/json" },
    body: JSON.stringify(body),
  });
  const result = answer.status === 204 ? {} : await answer.json();
  if (!answer.ok) throw result;
  return result;
}

function tell(error) {
  if (error.code === "not_proved") return location.assign(`/step-up?next=${encodeURIComponent(location.pathname)}`);
  const own = { NotAllowedError: STOPPED, AbortError: STOPPED, InvalidStateError: KNOWN }[error.name];
  trouble.textContent = own ?? error.detail ?? "That did not work. Check the connection and try again.";
  trouble.hidden = false;
}

async function prove(button, conditions = {}) {
  const asked = { purpose: button.dataset.passkey, passwordless: "passwordless" in button.dataset };
  const options = await call("passkey/options", asked);
  const publicKey = PublicKeyCredential.parseRequestOptionsFromJSON(options);
  const credential = await navigator.credentials.get({ publicKey, ...conditions });
  await call("passkey/verify", { ...asked, credential: credential.toJSON() });
  location.assign(button.dataset.next);
}

async function busy(button, work) {
  button.disabled = true;
  trouble.hidden = true;
  waiting?.abort();
  await work().catch(tell);
  button.disabled = false;
}

// Among what the browser offers to fill in the address with; asked for once somebody is there to fill it in.
async function fillIn(button) {
  if (!(await PublicKeyCredential.isConditionalMediationAvailable?.())) return;
  waiting = new AbortController();
  prove(button, { mediation: "conditional", signal: waiting.signal }).catch((error) => error.code === "passkey_refused" && tell(error));
}

async function make(form) {
  const options = await call("factors/passkey");
  const publicKey = PublicKeyCredential.parseCreationOptionsFromJSON(options);
  const credential = await navigator.credentials.create({ publicKey });
  const name = form.elements.namedItem("name").value;
  const { recovery_codes: codes } = await call("factors/passkey/confirm", { name, credential: credential.toJSON() });
  if (!codes.length) return location.assign("/security?notice=factor-added");
  const shown = document.querySelector("[data-first-codes]");
  for (const code of codes) {
    const item = document.createElement("li");
    item.append(document.createElement("code"));
    item.firstChild.textContent = code;
    shown.querySelector("[data-codes]").append(item);
  }
  shown.querySelector("[data-copy]").dataset.copy = codes.join("\n");
  form.hidden = true;
  shown.hidden = false;
  shown.querySelector("h2").focus();
}

// Until now nothing could be pressed: without this script it would do nothing, or something else.
const form = document.querySelector("[data-new-passkey]");
const button = document.querySelector("[data-passkey]") ?? form?.querySelector("button");
if (offered && button) {
  document.querySelector("[data-passkey-offer]")?.removeAttribute("hidden");
  button.disabled = false;
  if (form) {
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      busy(button, () => make(form));
    });
  } else {
    button.addEventListener("click", () => busy(button, () => prove(button)));
    document.querySelector("input[autocomplete~=webauthn]")?.addEventListener("focus", () => fillIn(button), { once: true });
  }
} else if (button && !button.closest("[data-passkey-offer]")) {
  tell({ detail: "This browser knows no passkeys. Use another way, or a newer browser." });
}
