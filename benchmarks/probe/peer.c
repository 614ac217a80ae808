/* Small programs in C that the benchmark needs: the least that a sweep can cost, and a meter.
 *
 *   peer icmp FILE COUNT              echoes from one raw socket, receive stamps by the kernel
 *   peer tcp FILE COUNT PORT          handshakes, epoll, the round trip by TCP_INFO
 *   peer listen PORT                  accepts and forgets, for TCP over loopback
 *   peer meter OUT PROGRAM [ARGUMENT] runs a program, writes to OUT: wall_s cpu_s peak_kb
 *
 * icmp and tcp print one line a target: address, then a round trip in ms or "-" for each echo.
 * They keep no window, check no token and know no local fault: a floor, not a pinger.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/ip_icmp.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MOST 65536
#define GAP_S 0.1
#define TIMEOUT_S 1.0

static struct sockaddr_in targets[MOST];
static int target_count, echo_count;
static double *rtts_ms;   /* [echo * target_count + target], below 0: none */
static int64_t *sent_ns;

static int64_t clock_ns(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static void read_targets(const char *path, int count, int port)
{
    FILE *file = fopen(path, "r");
    char line[64];
    if (!file)
        die(path);
    while (target_count < MOST && fscanf(file, "%63s", line) == 1) {
        targets[target_count].sin_family = AF_INET;
        targets[target_count].sin_port = htons((uint16_t)port);
        if (inet_pton(AF_INET, line, &targets[target_count].sin_addr) == 1)
            target_count++;
    }
    fclose(file);
    echo_count = count;
    size_t indexes = (size_t)target_count * (size_t)count;
    rtts_ms = malloc(indexes * sizeof *rtts_ms);
    sent_ns = malloc(indexes * sizeof *sent_ns);
    for (size_t i = 0; i < indexes; i++)
        rtts_ms[i] = -1;
}

static void print_lines(void)
{
    char address[64];
    for (int t = 0; t < target_count; t++) {
        fputs(inet_ntop(AF_INET, &targets[t].sin_addr, address, sizeof address), stdout);
        for (int e = 0; e < echo_count; e++) {
            double rtt_ms = rtts_ms[(size_t)e * (size_t)target_count + (size_t)t];
            if (rtt_ms < 0)
                fputs(" -", stdout);
            else
                printf(" %.4f", rtt_ms);
        }
        putchar('\n');
    }
}

static uint16_t checksum(const uint8_t *p, size_t n)
{
    uint32_t sum = 0;
    for (size_t i = 0; i + 1 < n; i += 2)
        sum += (uint32_t)(p[i] << 8 | p[i + 1]);
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return htons((uint16_t)~sum);
}

static int hear(int fd, int64_t *answered)
{
    int heard = 0;
    for (;;) {
        uint8_t data[256], extra[128];
        struct iovec part = {data, sizeof data};
        struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = extra,
                                 .msg_controllen = sizeof extra};
        ssize_t n = recvmsg(fd, &message, MSG_DONTWAIT);
        if (n < 0)
            return heard;
        struct timespec stamp = {0, 0};
        for (struct cmsghdr *c = CMSG_FIRSTHDR(&message); c; c = CMSG_NXTHDR(&message, c))
            if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_TIMESTAMPNS)
                memcpy(&stamp, CMSG_DATA(c), sizeof stamp);
        uint32_t index;
        if (n < 20 + 8 + 8 || data[20] != 0)
            continue;
        memcpy(&index, data + 28, 4);
        if (index >= (uint32_t)(target_count * echo_count) || rtts_ms[index] >= 0)
            continue;
        rtts_ms[index] = (double)((int64_t)stamp.tv_sec * 1000000000 + stamp.tv_nsec - sent_ns[index]) / 1e6;
        ++*answered;
        heard++;
    }
}

static void wait_until(int64_t until_ns, int fd, int64_t *answered, int64_t enough)
{
    for (int64_t left; *answered < enough && (left = until_ns - clock_ns(CLOCK_MONOTONIC)) > 0;) {
        struct pollfd one = {fd, POLLIN, 0};
        poll(&one, 1, (int)(left / 1000000) + 1);
        hear(fd, answered);
    }
}

static void icmp(void)
{
    int fd = socket(AF_INET, SOCK_RAW, IPPROTO_ICMP), on = 1, buffer = 64 << 20;
    uint32_t only = ~(1u << ICMP_ECHOREPLY); /* linux/icmp.h: ICMP_FILTER is option 1 */
    int64_t answered = 0;
    if (fd < 0)
        die("raw socket");
    setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &buffer, sizeof buffer);
    setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof on);
    setsockopt(fd, SOL_RAW, 1, &only, sizeof only);
    for (int e = 0; e < echo_count; e++) {
        int64_t begun_ns = clock_ns(CLOCK_MONOTONIC);
        for (int t = 0; t < target_count; t++) {
            uint8_t packet[24] = {ICMP_ECHO};
            uint32_t index = (uint32_t)(e * target_count + t);
            packet[4] = (uint8_t)(getpid() >> 8);
            packet[5] = (uint8_t)getpid();
            packet[6] = (uint8_t)(e >> 8);
            packet[7] = (uint8_t)e;
            memcpy(packet + 8, &index, 4);
            *(uint16_t *)(void *)(packet + 2) = checksum(packet, sizeof packet);
            sent_ns[index] = clock_ns(CLOCK_REALTIME);
            sendto(fd, packet, sizeof packet, 0, (struct sockaddr *)&targets[t], sizeof targets[t]);
            if (t % 32 == 31)
                hear(fd, &answered);
        }
        int last = e == echo_count - 1;
        int64_t wait_ns = (int64_t)((last ? TIMEOUT_S : GAP_S) * 1e9);
        int64_t from_ns = last ? clock_ns(CLOCK_MONOTONIC) : begun_ns;
        wait_until(from_ns + wait_ns, fd, &answered, last ? (int64_t)target_count * echo_count : INT64_MAX);
    }
}

static void handshake_over(int epoll, int fd, size_t index)
{
    struct tcp_info info;
    socklen_t size = sizeof info;
    int error = 0;
    socklen_t error_size = sizeof error;
    (void)epoll;
    getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &error_size);
    if (!error && !getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size))
        rtts_ms[index] = info.tcpi_rtt / 1e3;
    else if (error == ECONNREFUSED)
        rtts_ms[index] = (double)(clock_ns(CLOCK_MONOTONIC) - sent_ns[index]) / 1e6;
    close(fd);
}

static void tcp(void)
{
    int epoll = epoll_create1(0);
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    int *owner = malloc(sizeof *owner * (1 << 20)); /* the index of a descriptor */
    for (int e = 0; e < echo_count; e++) {
        int64_t begun_ns = clock_ns(CLOCK_MONOTONIC);
        int open = 0;
        for (int t = 0; t < target_count || open;) {
            struct epoll_event events[256];
            for (int burst = 0; burst < 32 && t < target_count; burst++, t++) {
                int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
                struct linger now = {1, 0};
                if (fd < 0)
                    break;
                size_t index = (size_t)e * (size_t)target_count + (size_t)t;
                setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
                sent_ns[index] = clock_ns(CLOCK_MONOTONIC);
                int bad = connect(fd, (struct sockaddr *)&targets[t], sizeof targets[t]);
                if (!bad || errno != EINPROGRESS) {
                    handshake_over(epoll, fd, index);
                    continue;
                }
                struct epoll_event event = {EPOLLOUT | EPOLLET | EPOLLONESHOT, {.fd = fd}};
                owner[fd] = (int)index;
                epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
                open++;
            }
            int n = epoll_wait(epoll, events, 256, t < target_count ? 0 : (int)(TIMEOUT_S * 1000));
            if (!n && t >= target_count)
                break;
            for (int i = 0; i < n; i++, open--)
                handshake_over(epoll, events[i].data.fd, (size_t)owner[events[i].data.fd]);
        }
        int64_t left_ns = begun_ns + (int64_t)(GAP_S * 1e9) - clock_ns(CLOCK_MONOTONIC);
        if (e < echo_count - 1 && left_ns > 0)
            usleep((useconds_t)(left_ns / 1000));
    }
}

static void listen_for_ever(int port)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&any, sizeof any) || listen(fd, 65535))
        die("listen");
    puts("ready");
    fflush(stdout);
    for (;;)
        close(accept(fd, NULL, NULL));
}

static void meter(const char *out, char **command)
{
    int64_t begun_ns = clock_ns(CLOCK_MONOTONIC);
    int status;
    struct rusage used;
    pid_t child = fork();
    if (!child) {
        execvp(command[0], command);
        die(command[0]);
    }
    wait4(child, &status, 0, &used);
    double wall_s = (double)(clock_ns(CLOCK_MONOTONIC) - begun_ns) / 1e9;
    double cpu_s = (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
                   (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
    FILE *file = fopen(out, "w");
    if (!file)
        die(out);
    fprintf(file, "%.6f %.6f %ld\n", wall_s, cpu_s, used.ru_maxrss);
    fclose(file);
    exit(WIFEXITED(status) ? WEXITSTATUS(status) : 1);
}

int main(int argc, char **argv)
{
    if (argc >= 4 && !strcmp(argv[1], "icmp")) {
        read_targets(argv[2], atoi(argv[3]), 0);
        icmp();
        print_lines();
    } else if (argc >= 5 && !strcmp(argv[1], "tcp")) {
        read_targets(argv[2], atoi(argv[3]), atoi(argv[4]));
        tcp();
        print_lines();
    } else if (argc >= 3 && !strcmp(argv[1], "listen")) {
        listen_for_ever(atoi(argv[2]));
    } else if (argc >= 4 && !strcmp(argv[1], "meter")) {
        meter(argv[2], argv + 3);
    } else
        return 2;
    return 0;
}
