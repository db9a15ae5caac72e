// Has the figures of the page measure it again whenever this widget is shown with another width.
//
// Plotly measures the page when it draws, and a FigureWidget in a box, or in a cell that is scrolled
// out of sight, is drawn before it is part of the page: 700 pixels wide, its titles on top of each
// other. It measures again when the window is resized, so the page is told that it was.

export default {
  render({ el }) {
    let width = 0;
    const place = new ResizeObserver(([{ contentRect }]) => {
      if (contentRect.width === width) return;
      width = contentRect.width;
      if (width) window.dispatchEvent(new Event("resize"));
    });
    place.observe(el);
    return () => place.disconnect();
  },
};
