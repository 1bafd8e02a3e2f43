// node:http, as its documentation writes a response that stays open: write() to each client.
'use strict';
const http = require('node:http');

const TEXT = 'x'.repeat(3930);
const clients = new Set();
const history = [];
let emitted = 0;

function frame() {
  const id = ++emitted;
  const stamp = new Date().toISOString().replace('Z', '000Z');
  const data = JSON.stringify({ id, type: 'agent_chunk', timestamp: stamp, data: { text: TEXT } });
  return `id: ${id}\nevent: agent_chunk\ndata: ${data}\n\n`;
}

function run(events, burst, us) {
  const next = () => {
    for (let i = 0; i < burst && events > 0; i++, events--) {
      const text = frame();
      for (const client of clients) client.write(text);
    }
    if (events > 0) setTimeout(next, us / 1000);
  };
  next();
}

const server = http.createServer((request, response) => {
  const url = new URL(request.url, 'http://localhost');
  const number = (name) => Number(url.searchParams.get(name));
  if (request.method === 'POST') {
    response.writeHead(202).end();
    run(number('events'), number('burst'), number('us'));
    return;
  }
  response.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-cache' });
  response.flushHeaders();
  if (url.pathname === '/replay') {
    while (history.length < number('events')) history.push(frame());
    let sent = 0;
    const next = () => {
      while (sent < history.length) {
        if (!response.write(history[sent++])) {
          response.once('drain', next);
          return;
        }
      }
    };
    next();
    return;
  }
  clients.add(response);
  request.on('close', () => clients.delete(response));
});

server.listen({ port: 0, host: '127.0.0.1', backlog: 4096 }, () => {
  console.log(`listening on http://127.0.0.1:${server.address().port}`);
});
