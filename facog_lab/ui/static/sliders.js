// Tells screen readers what the sliders of the page are called, and worth.
//
// The name is in the slider's tooltip. What it is worth is in the number box before it, to the
// digit; while that box waits for the kernel it is what the handle points at. noUiSlider writes anew
// at every move, so its words are put right whenever they change.

const own = new WeakSet();

function put(handle, values) {
  for (const [name, value] of Object.entries(values)) {
    if (handle.getAttribute(name) !== String(value)) handle.setAttribute(name, value);
  }
}

function speak(slider, handle) {
  const name = slider.getAttribute("title") ?? slider.querySelector("[title]")?.title;
  if (name) put(handle, { "aria-label": name });
  const api = slider.querySelector(".noUi-target").noUiSlider;
  const { step, range } = api.options;
  const log = slider.classList.contains("facog-log"), at = Number(api.get());
  const value = place => Number((log ? 10 ** place : place).toPrecision(3));
  const box = slider.parentElement.querySelector("input[type=number]");
  const written = box?.value ? Number(box.value) : NaN, place = log ? Math.log10(written) : written;
  const same = Math.abs(Math.min(Math.max(place, range.min), range.max) - at) < 0.51 * step;
  const now = same ? written : value(at);
  put(handle, { "aria-valuetext": now, "aria-valuenow": now });
  put(handle, { "aria-valuemin": value(range.min), "aria-valuemax": value(range.max) });
}

export default {
  render() {
    const timer = setInterval(() => {
      for (const slider of document.querySelectorAll(".facog-slider")) {
        const handle = slider.querySelector("[role=slider]");
        if (!handle) continue;
        speak(slider, handle);
        if (own.has(handle)) continue;
        own.add(handle);
        new MutationObserver(() => speak(slider, handle)).observe(handle, { attributes: true });
      }
    }, 1000);
    return () => clearInterval(timer);
  },
};
