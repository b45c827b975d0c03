// Browsers start no worker of a page that was opened from a disk. There the search runs in a hidden
// frame, which answers as a worker does.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super();
      this.frame = document.createElement("iframe");
      this.frame.hidden = true;
      document.body.append(this.frame);
      this.inner = this.frame.contentWindow;
      const page = this.inner.document;
      page.open();
      page.write(`<!doctype html><title>search</title><script>
        window.importScripts = (...urls) => urls.reduce((before, url) => before.then(() =>
          new Promise((resolve, reject) => {
            const script = document.createElement("script");
            script.src = url; script.onload = resolve; script.onerror = reject;
            document.body.append(script);
          })), Promise.resolve());
      <\/script><body><script src="${url}"><\/script></body>`);
      page.close();
      this.inner.postMessage = (data) =>
        setTimeout(() => this.dispatchEvent(new MessageEvent("message", { data })));
      this.deliver = (data) =>
        this.inner.dispatchEvent(new this.inner.MessageEvent("message", { data }));
      this.ready = new Promise((resolve) => this.frame.addEventListener("load", resolve));
    }
    set onmessage(listener) { this.addEventListener("message", listener); }
    postMessage(data) { this.ready.then(() => this.deliver(data)); }
    terminate() { this.frame.remove(); }
  };
}
