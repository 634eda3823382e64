// What pages do beyond forms and links. Nothing here is needed to use them.

// Times: as the reader's own clock shows them; how long ago stays true while the page is open.
const exact = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
const relative = new Intl.RelativeTimeFormat(document.documentElement.lang, { numeric: "auto" });
const UNITS = [["year", 31557600], ["month", 2629800], ["day", 86400], ["hour", 3600], ["minute", 60]];

function distance(moment) {
  const seconds = (moment - Date.now()) / 1000;
  const [unit, length] = UNITS.find(([, length]) => Math.abs(seconds) >= length) ?? [null, 0];
  if (unit) return relative.format(Math.trunc(seconds / length), unit);
  return seconds > 0 ? "in a moment" : "just now";
}

function tellTimes() {
  for (const time of document.querySelectorAll("time[data-time]")) {
    const moment = new Date(time.dateTime);
    time.title = exact.format(moment);
    time.textContent = time.dataset.time === "ago" ? distance(moment) : exact.format(moment);
  }
}
tellTimes();
setInterval(tellTimes, 60_000);

// Waits count down by the clock, so that a page that slept knows how late it is. No page is reloaded for anybody.
function countDown(seconds, tell) {
  const end = Date.now() + seconds * 1000;
  const look = () => {
    const left = Math.max(0, Math.round((end - Date.now()) / 1000));
    tell(left);
    if (left === 0) clearInterval(timer);
  };
  const timer = setInterval(look, 1000);
  look();
}
for (const wait of document.querySelectorAll("[data-countdown]")) {
  countDown(Number(wait.dataset.countdown), (left) => {
    wait.textContent = left > 0 ? `${left} second${left === 1 ? "" : "s"}` : "no longer";
  });
}
for (const code of document.querySelectorAll("[data-left]")) {
  countDown(Number(code.dataset.left), (left) => {
    const clock = `${Math.floor(left / 60)}:${String(left % 60).padStart(2, "0")}`;
    code.textContent = left > 0 ? `It works for ${clock} more.` : "It has run out. Send another one.";
  });
}
for (const button of document.querySelectorAll("button[data-wait]")) {
  const label = button.textContent;
  countDown(Number(button.dataset.wait), (left) => {
    button.disabled = left > 0;
    button.textContent = left > 0 ? `${label} in ${left} s` : label;
  });
}

// Dialogs open by `command` and `commandfor`; older browsers need a hand.
const knowsCommands = "commandForElement" in HTMLButtonElement.prototype;
document.addEventListener("click", async ({ target }) => {
  const opener = target.closest("button[commandfor]");
  if (opener && !knowsCommands) {
    const dialog = document.getElementById(opener.getAttribute("commandfor"));
    if (opener.getAttribute("command") === "show-modal") dialog.showModal();
    else dialog.close();
  }
  if (target.closest("button[data-print]")) print();
  const copier = target.closest("button[data-copy]");
  if (copier) {
    const label = copier.textContent;
    await navigator.clipboard.writeText(copier.dataset.copy);
    copier.textContent = "Copied";
    setTimeout(() => { copier.textContent = label; }, 1500);
  }
});

// Keys: "/" searches, "g c" goes to the chat, "?" lists them. One switch turns them off, on this device.
const SWITCH = "shortcuts-off";
const box = document.getElementById("shortcuts-on");
if (box) {
  box.checked = !localStorage.getItem(SWITCH);
  box.addEventListener("change", () => {
    if (box.checked) localStorage.removeItem(SWITCH);
    else localStorage.setItem(SWITCH, "yes");
  });
}
let wentFirst = 0;
document.addEventListener("keydown", (event) => {
  const typing = event.target.closest("input, textarea, select, [contenteditable], dialog");
  if (typing || event.ctrlKey || event.metaKey || event.altKey || !box?.checked) return;
  const search = document.querySelector("[data-search]");
  const chat = document.querySelector('.rail-links a[href$="/chat"]');
  if (event.key === "/" && search) {
    event.preventDefault();
    search.closest("[popover]")?.checkVisibility() === false && search.closest("[popover]").showPopover();
    search.focus();
  } else if (event.key === "?") {
    document.getElementById("shortcuts").showModal();
  } else if (event.key === "c" && chat && event.timeStamp - wentFirst < 1500) {
    chat.click();
  }
  wentFirst = event.key === "g" ? event.timeStamp : 0;
});
