// Plotly's code for a page is the `source` of a widget that does nothing itself.
export default {};
