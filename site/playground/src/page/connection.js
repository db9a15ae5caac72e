// The lab in a worker, made from this very script; or in the page, where workers are not allowed.
import { Lab } from "../lab.js";
import { digitsSource } from "../digits.js";

/** In the worker: the lab, told by messages. */
export function serve(scope) {
  let lab;
  scope.onmessage = ({ data }) => {
    if (data.do === "digits")
      lab = new Lab(
        (message) => scope.postMessage(message),
        () => digitsSource(data.file),
      );
    else lab.receive(data);
  };
}

/** In the page: a function that sends messages to the lab. */
export function connect(file, script, receive) {
  const inPage = () => {
    const lab = new Lab(
      (message) => queueMicrotask(() => receive(message)),
      () => digitsSource(file),
    );
    return (message) => lab.receive(message);
  };
  let send;
  try {
    const address = URL.createObjectURL(new Blob([script], { type: "text/javascript" }));
    const worker = new Worker(address);
    const waiting = [];
    worker.onmessage = ({ data }) => receive(data);
    worker.onerror = (event) => {
      // it could not be loaded: nothing that was sent is lost
      event.preventDefault();
      worker.terminate();
      send = inPage();
      waiting.forEach((message) => send(message));
    };
    send = (message) => {
      if (waiting.length < 5) waiting.push(message);
      worker.postMessage(message);
    };
    worker.postMessage({ do: "digits", file });
  } catch {
    send = inPage();
  }
  return (message) => send(message);
}
