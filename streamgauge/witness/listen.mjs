// What a page does with a stream: every message event of these types, until the stream has ended.
// The first error is the end of the recorded bytes; whoever went on would only connect again.
export function listen(Source, streams, boundMs) {
  const one = ({ url, types }) =>
    new Promise((resolve) => {
      const events = [];
      const source = new Source(url);
      const end = (why) => {
        clearTimeout(timer);
        source.close();
        resolve({ events, why });
      };
      const timer = setTimeout(() => end("time"), boundMs);
      for (const type of types) {
        source.addEventListener(type, (event) => {
          if (event instanceof MessageEvent) {
            events.push([event.type, event.data, event.lastEventId]);
          }
        });
      }
      source.addEventListener("error", (event) => {
        if (!(event instanceof MessageEvent)) end("end");
      });
    });
  return Promise.all(streams.map(one));
}
