/* The client of the benchmark: many event streams on one processor, counted and hardly parsed.
 *
 * A client that costs more than what it measures measures itself, so this one looks at line starts
 * only: it counts `id:` lines, and reads the number and the time stamp behind them where asked to.
 *
 *     readers HOST PORT PATH lazy|eager|ages|strict
 *
 * lazy: looks twice in a millisecond and sleeps in between. A reader that waits for each event has
 * to be woken by whoever sends it, which on loopback is the server, and costs it as much as the
 * sending; no network card does that. eager: waits for events. ages: so, and reads time stamps.
 * strict: so, and reads ids as well.
 *
 * Commands come by standard input, one a line; each gets one line of answer:
 *     connect N         open N streams (the requests are sent, no answer has been read yet)
 *     until EVENTS MS   read until every stream has so many events: "ok MICROSECONDS" from the
 *                       first request on, "late STREAMS" after so long, "ended" where one stopped
 *     settle MS         read until nothing came for so long, at most ten times as long
 *     state             "state LEAST MOST JOINED TOGETHER ODD": events per stream, events that
 *                       shared a chunk, or a read, with an earlier one, and ids that are not one
 *                       more than the last (strict)
 *     ages              "ages COUNT P50 P99 MAX" in microseconds since the last time
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define READ_BYTES (256 * 1024)
#define HEAD_BYTES 256 /* from an `id:` line's start to the end of its time stamp, at most */
#define STREAMS_MAX 20000
#define LOOK_US 500
#define AGES_MAX (16 * 1024 * 1024)
static const char STAMP[] = "\"timestamp\":\"";

struct stream {
  long events, joined, together, odd, last;
  int held;
  char before, hold[HEAD_BYTES];
};

static struct stream *streams;
static int count, epoll_fd, stopped, lazy, strict, ages_wanted;
static int *fds;
static uint32_t *ages;
static long ages_count;
static char buffer[HEAD_BYTES + READ_BYTES + 1];
static int64_t began_us, midnight_us;

static int64_t now_us(clockid_t which) {
  struct timespec t;
  clock_gettime(which, &t);
  return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static void note_age(const char *head, const char *end, int64_t now) {
  const char *at = memmem(head, end - head, STAMP, sizeof STAMP - 1);
  int hour, minute, second, micro;
  if (!at || end - at < 45) return;
  at += sizeof STAMP - 1;
  if (sscanf(at + 11, "%2d:%2d:%2d.%6d", &hour, &minute, &second, &micro) != 4) return;
  int64_t sent = midnight_us + ((hour * 60 + minute) * 60 + second) * 1000000LL + micro;
  int64_t age = now - sent;
  if (ages_count < AGES_MAX) ages[ages_count++] = age < 0 ? 0 : age;
}

/* One read; 0 at the end of a stream. */
static long take(int index) {
  struct stream *s = &streams[index];
  memcpy(buffer, s->hold, s->held);
  long got = recv(fds[index], buffer + s->held, READ_BYTES, 0);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return 1;
  if (got <= 0) return 0;
  int64_t now = ages_wanted ? now_us(CLOCK_REALTIME) : 0;
  long before = s->events;
  char *at = buffer, *end = buffer + s->held + got;
  s->held = 0;
  *end = 0;
  while ((at = memchr(at, '\n', end - at))) {
    long left = end - at;
    if (left < 4 || (memcmp(at, "\nid:", 4) == 0 && left < HEAD_BYTES && (strict || ages_wanted))) {
      memcpy(s->hold, at, left); /* what is missing comes with the next read */
      s->held = left;
      if (at > buffer) s->before = at[-1];
      return got;
    }
    if (memcmp(at, "\nid:", 4) == 0) {
      if (s->events++ > before) s->together++;
      if ((at > buffer ? at[-1] : s->before) != '\r') s->joined++;
      long id = strict ? atol(at + 4) : 0;
      if (strict && id != s->last + 1) s->odd++;
      s->last = id;
      if (ages_wanted) note_age(at, at + HEAD_BYTES, now);
    }
    at++;
  }
  s->before = end[-1];
  return got;
}

static void fail(const char *what) {
  printf("error %s: %s\n", what, strerror(errno));
  fflush(stdout);
  exit(1);
}

static void connect_streams(int more, struct sockaddr_in *address, const char *request) {
  for (int i = 0; i < more && count < STREAMS_MAX; i++) {
    int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    if (fd < 0 || connect(fd, (struct sockaddr *)address, sizeof *address)) fail("connect");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (send(fd, request, strlen(request), MSG_NOSIGNAL) < 0) fail("send");
    fds[count] = fd;
    memset(&streams[count], 0, sizeof *streams);
    struct epoll_event want = {.events = EPOLLIN, .data.u32 = count++};
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &want);
  }
}

/* Read whatever comes within `wait_ms`; the number of streams that brought something. */
static int read_some(int wait_ms) {
  struct epoll_event ready[512];
  int64_t end = now_us(CLOCK_MONOTONIC) + wait_ms * 1000LL;
  int found = epoll_wait(epoll_fd, ready, 512, lazy ? 0 : wait_ms);
  while (lazy && !found && now_us(CLOCK_MONOTONIC) < end) {
    usleep(LOOK_US);
    found = epoll_wait(epoll_fd, ready, 512, 0);
  }
  for (int i = 0; i < found; i++) {
    int index = ready[i].data.u32;
    if (take(index)) continue;
    epoll_ctl(epoll_fd, EPOLL_CTL_DEL, fds[index], NULL);
    stopped++;
  }
  return found;
}

static int behind(long events) {
  int missing = 0;
  for (int i = 0; i < count; i++) missing += streams[i].events < events;
  return missing;
}

static void until(long events, int limit_ms) {
  int64_t end = now_us(CLOCK_MONOTONIC) + limit_ms * 1000LL;
  int from = 0;
  for (;;) {
    while (from < count && streams[from].events >= events) from++; /* those have it for good */
    if (from == count && !behind(events)) {
      printf("ok %ld\n", (long)(now_us(CLOCK_MONOTONIC) - began_us));
      return;
    }
    int64_t left = end - now_us(CLOCK_MONOTONIC);
    if (left <= 0) {
      printf("late %d\n", behind(events));
      return;
    }
    int before = stopped;
    read_some(left / 1000 + 1);
    if (stopped > before && behind(events)) {
      printf("ended\n");
      return;
    }
  }
}

static int ascending(const void *a, const void *b) {
  uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
  return (x > y) - (x < y);
}

int main(int argc, char **argv) {
  if (argc != 5) return 2;
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[2]))};
  if (inet_pton(AF_INET, argv[1], &address.sin_addr) != 1) return 2;
  lazy = !strcmp(argv[4], "lazy");
  strict = !strcmp(argv[4], "strict");
  ages_wanted = strict || !strcmp(argv[4], "ages");
  char request[1024], line[128];
  snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: %s:%s\r\nAccept: text/event-stream\r\n\r\n",
           argv[3], argv[1], argv[2]);
  epoll_fd = epoll_create1(0);
  streams = calloc(STREAMS_MAX, sizeof *streams);
  fds = calloc(STREAMS_MAX, sizeof *fds);
  ages = malloc(AGES_MAX * sizeof *ages); /* untouched pages cost nothing */
  int64_t day_us = 86400LL * 1000000;
  midnight_us = now_us(CLOCK_REALTIME) / day_us * day_us;
  began_us = now_us(CLOCK_MONOTONIC);
  while (fgets(line, sizeof line, stdin)) {
    long number = 0;
    int ms = 0;
    if (sscanf(line, "connect %ld", &number) == 1) {
      began_us = now_us(CLOCK_MONOTONIC);
      connect_streams(number, &address, request);
      printf("ok\n");
    } else if (sscanf(line, "until %ld %d", &number, &ms) == 2) {
      until(number, ms);
    } else if (sscanf(line, "settle %d", &ms) == 1) {
      int64_t end = now_us(CLOCK_MONOTONIC) + ms * 10000LL;
      while (read_some(ms) && now_us(CLOCK_MONOTONIC) < end) continue;
      printf("ok\n");
    } else if (!strcmp(line, "state\n")) {
      long least = count ? streams[0].events : 0, most = 0, joined = 0, together = 0, odd = 0;
      for (int i = 0; i < count; i++) {
        struct stream *s = &streams[i];
        if (s->events < least) least = s->events;
        if (s->events > most) most = s->events;
        joined += s->joined;
        together += s->together;
        odd += s->odd;
      }
      printf("state %ld %ld %ld %ld %ld\n", least, most, joined, together, odd);
    } else if (!strcmp(line, "ages\n")) {
      qsort(ages, ages_count, sizeof *ages, ascending);
      long n = ages_count, last = n ? n - 1 : 0;
      printf("ages %ld %u %u %u\n", n, ages[n / 2 < last ? n / 2 : last], ages[n * 99 / 100 < last ? n * 99 / 100 : last], ages[last]);
      ages_count = 0;
    } else {
      printf("error unknown command\n");
    }
    fflush(stdout);
  }
  return 0;
}
