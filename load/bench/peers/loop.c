/* The limit: one `send()` per stream and event, the frame encoded before; nothing else.
 *
 *     loop            prints "listening on http://HOST:PORT"
 *
 * GET /stream follows, GET /replay?events=N gets N frames at once, POST /run?events=&burst=&us=
 * sends so many events to all that follow, `burst` of them together, every so many microseconds.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define FRAME_BYTES 4096
#define STREAMS_MAX 20000
#define BURST_MAX 64

static int followers[STREAMS_MAX], count;
static long emitted;
static char chunk[BURST_MAX * (FRAME_BYTES + 32)];

static int64_t now_us(clockid_t which) {
  struct timespec t;
  clock_gettime(which, &t);
  return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

/* `events` frames as one chunk of chunked coding; its size. */
static size_t encode(long events) {
  char *at = chunk + sprintf(chunk, "%lx\r\n", events * FRAME_BYTES);
  for (long i = 0; i < events; i++) {
    int64_t us = now_us(CLOCK_REALTIME);
    time_t seconds = us / 1000000;
    struct tm t;
    char date[32];
    gmtime_r(&seconds, &t);
    strftime(date, sizeof date, "%FT%T", &t);
    memset(at, 'x', FRAME_BYTES);
    int head = sprintf(at, "id: %ld\nevent: agent_chunk\ndata: {\"id\":%ld,\"type\":\"agent_chunk\","
                       "\"timestamp\":\"%s.%06ldZ\",\"data\":{\"text\":\"", emitted + 1, emitted + 1,
                       date, (long)(us % 1000000));
    at[head] = 'x';
    memcpy(at + FRAME_BYTES - 5, "\"}}\n\n", 5);
    at += FRAME_BYTES;
    emitted++;
  }
  memcpy(at, "\r\n", 2);
  return at + 2 - chunk;
}

static void send_all(int fd, const char *data, size_t size) {
  while (size) {
    ssize_t sent = send(fd, data, size, MSG_NOSIGNAL);
    if (sent <= 0) return;
    data += sent;
    size -= sent;
  }
}

static void run(long events, long burst, long interval_us) {
  for (long left = events; left > 0; left -= burst) {
    size_t size = encode(left < burst ? left : burst);
    for (int i = 0; i < count; i++) send_all(followers[i], chunk, size);
    if (interval_us) usleep(interval_us);
  }
}

static void answer(int fd) {
  char text[4096];
  ssize_t got = recv(fd, text, sizeof text - 1, 0);
  long events = 0, burst = 1, us = 0;
  if (got <= 0) {
    for (int i = 0; i < count; i++)
      if (followers[i] == fd) followers[i] = followers[--count];
    close(fd);
    return;
  }
  text[got] = 0;
  static const char stream[] = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
                               "Transfer-Encoding: chunked\r\n\r\n";
  static const char done[] = "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n";
  if (sscanf(text, "POST /run?events=%ld&burst=%ld&us=%ld", &events, &burst, &us) == 3) {
    send_all(fd, done, sizeof done - 1);
    run(events, burst < BURST_MAX ? burst : BURST_MAX, us);
  } else {
    send_all(fd, stream, sizeof stream - 1);
    if (sscanf(text, "GET /replay?events=%ld", &events) == 1) {
      emitted = 0;
      size_t size = encode(16);
      for (long i = 0; i < events; i += 16) send_all(fd, chunk, size);
    } else if (count < STREAMS_MAX) {
      followers[count++] = fd;
    }
  }
}

int main(void) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t length = sizeof address;
  int listener = socket(AF_INET, SOCK_STREAM, 0), one = 1, events = epoll_create1(0);
  if (bind(listener, (struct sockaddr *)&address, length) || listen(listener, 4096)) return 1;
  getsockname(listener, (struct sockaddr *)&address, &length);
  printf("listening on http://127.0.0.1:%d\n", ntohs(address.sin_port));
  fflush(stdout);
  struct epoll_event want = {.events = EPOLLIN, .data.fd = listener}, ready;
  epoll_ctl(events, EPOLL_CTL_ADD, listener, &want);
  while (epoll_wait(events, &ready, 1, -1) >= 0) {
    if (ready.data.fd != listener) {
      answer(ready.data.fd);
      continue;
    }
    int fd = accept(listener, NULL, NULL);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    want.data.fd = fd;
    epoll_ctl(events, EPOLL_CTL_ADD, fd, &want);
  }
  return 1;
}
