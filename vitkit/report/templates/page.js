"use strict";
(() => {
  const root = document.documentElement;
  root.classList.add("js");

  for (const curve of document.querySelectorAll(".curve")) {
    const control = curve.querySelector(".control");
    const slider = control.querySelector("input");
    const all = control.querySelector("button");
    const steps = [...curve.querySelectorAll(".steps li")];
    const marks = (kind) => steps.map((_, index) => curve.querySelector(`svg [id$="-${kind}-${index}"]`));
    const rings = marks("ring");
    const show = (chosen) => {
      steps.forEach((step, index) => step.classList.toggle("on", index === chosen));
      rings.forEach((ring, index) => ring.classList.toggle("on", index === chosen));
      slider.value = chosen;
      const [severity, accuracy] = steps[chosen].querySelectorAll("figcaption > *");
      slider.setAttribute("aria-valuetext", `${severity.textContent}, ${accuracy.textContent}`);
    };
    slider.addEventListener("input", () => show(Number(slider.value)));
    marks("point").forEach((point, index) => point.addEventListener("click", () => show(index)));
    all.addEventListener("click", () => {
      const every = all.getAttribute("aria-pressed") === "false";
      all.setAttribute("aria-pressed", String(every));
      curve.classList.toggle("one", !every);
    });
    curve.classList.add("one");
    control.hidden = false;
    show(Number(curve.dataset.start));
  }

  for (const table of document.querySelectorAll("table.sortable")) {
    const body = table.tBodies[0];
    const headings = [...table.tHead.rows[0].cells];
    headings.forEach((heading, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...heading.childNodes);
      heading.append(button);
      button.addEventListener("click", () => {
        const up = heading.getAttribute("aria-sort") !== "ascending";
        headings.forEach((other) => other.removeAttribute("aria-sort"));
        heading.setAttribute("aria-sort", up ? "ascending" : "descending");
        const keyed = [...body.rows].map((row) => {
          const cell = row.cells[column];
          return { row, number: parseFloat(cell.dataset.value), text: cell.textContent };
        });
        // What has no number stands last whichever way the others go.
        keyed.sort((a, b) => {
          const [first, second] = [isNaN(a.number), isNaN(b.number)];
          if (first !== second) return first - second;
          const order = first ? a.text.localeCompare(b.text, "en", { numeric: true }) : a.number - b.number;
          return up ? order : -order;
        });
        body.append(...keyed.map((item) => item.row));
      });
    });
  }
  // A closed chapter is opened by a link into it, and for paper.
  const open = () => {
    const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    for (let place = target; place; place = place.parentElement) if (place.tagName === "DETAILS") place.open = true;
    if (target) target.scrollIntoView();
  };
  window.addEventListener("hashchange", open);
  if (location.hash) open();
  window.addEventListener("beforeprint", () => document.querySelectorAll("details.chapter").forEach((chapter) => { chapter.open = true; }));
  root.dataset.ready = "true";
})();
