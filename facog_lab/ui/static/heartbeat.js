// Says once a second that the page is there: it counts as there while it shows the widget.

export default () => {
  let views = 0;
  return {
    initialize({ model }) {
      const timer = setInterval(() => {
        if (views === 0) return;
        model.set({ beats: model.get("beats") + 1, hidden: document.hidden });
        model.save_changes();
      }, 1000);
      return () => clearInterval(timer);
    },
    render() {
      views += 1;
      return () => { views -= 1; };
    },
  };
};
