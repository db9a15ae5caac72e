// The same script is the page's and the worker's.
import { serve } from "./page/connection.js";
import { Page } from "./page/main.js";

if (typeof document === "undefined") serve(self);
else globalThis.playground = new Page();
