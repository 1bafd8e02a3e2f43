"use strict";
// The page is complete without this: it only adds copying, and unfolds what a link or paper needs.
for (const block of document.querySelectorAll(".command")) {
  const code = block.querySelector("pre");
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = "Copy";
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(code.textContent);
    } catch {
      getSelection().selectAllChildren(code);
      document.execCommand("copy");
    }
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  });
  block.append(button);
}
const unfold = () => {
  const place = location.hash.length > 1 && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  const proof = place && place.querySelector("details.proof");
  if (proof) { proof.open = true; place.scrollIntoView(); }
};
addEventListener("hashchange", unfold);
unfold();
let folded = [];
addEventListener("beforeprint", () => {
  folded = [...document.querySelectorAll("details:not([open])")].filter((d) => !d.closest(".cells"));
  for (const details of folded) { details.open = true; }
});
addEventListener("afterprint", () => { for (const details of folded) { details.open = false; } });
