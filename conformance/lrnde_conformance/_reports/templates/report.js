
"use strict";
(() => {
  const root = document.documentElement;
  const themes = ["system", "light", "dark"];
  const button = document.getElementById("theme");
  let theme = "system";
  const show = () => {
    if (theme === "system") root.removeAttribute("data-theme");
    else root.setAttribute("data-theme", theme);
    button.textContent = `Theme: ${theme}`;
  };
  // A page from disk may be denied storage.
  try {
    const kept = localStorage.getItem("lrnde-theme");
    if (themes.includes(kept)) theme = kept;
  } catch {}
  show();
  button.addEventListener("click", () => {
    theme = themes[(themes.indexOf(theme) + 1) % themes.length];
    try { localStorage.setItem("lrnde-theme", theme); } catch {}
    show();
  });

  const attention = document.getElementById("attention");
  attention.addEventListener("change", () => document.body.classList.toggle("attention", attention.checked));

  const unfold = document.getElementById("unfold");
  unfold.addEventListener("click", () => {
    const isOpen = unfold.getAttribute("aria-pressed") !== "true";
    unfold.setAttribute("aria-pressed", String(isOpen));
    unfold.textContent = isOpen ? "Close all reasons" : "Open all reasons";
    for (const details of document.querySelectorAll("details")) details.open = isOpen;
  });

  // A link of the matrix opens what it leads to, and moves the keyboard there.
  const reveal = () => {
    const target = document.getElementById(location.hash.slice(1));
    if (!target) return;
    if (target.matches("details.ok")) {
      attention.checked = false;
      document.body.classList.remove("attention");
    }
    for (let node = target; node; node = node.parentElement) if (node.tagName === "DETAILS") node.open = true;
    target.scrollIntoView();
    target.querySelector("summary")?.focus({ preventScroll: true });
  };
  addEventListener("hashchange", reveal);
  reveal();
  document.querySelector(".controls").hidden = false;
})();
