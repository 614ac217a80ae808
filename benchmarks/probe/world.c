/* A world of servers behind one TUN device, in a network namespace of its own.
 *
 * It answers echo requests (ICMP and ICMPv6) and TCP SYNs after the delay its plan says, or does
 * what else the plan says: loses, doubles, forges, refuses, reports errors. For each request it
 * keeps the true round trip: from the kernel's own stamp of the packet leaving for the device
 * (a packet socket sees it before this program can) to the answer's entry into the kernel.
 *
 * In C, not Python: a burst of 10,000 echoes comes at 150,000 packets a second, and a world that
 * can't keep up would add its own queue to the delay it was told to have.
 *
 * It unshares its own namespace, so the namespace and the device end with the process, however it
 * ends. `world.py` starts it, sets up addresses and routes, and speaks to it over stdin and stdout:
 *
 *   plan SEED COUNT     then COUNT lines, one rule each (see read_rule); forgets all earlier state
 *   truth PATH          writes one struct trip per request seen since the last plan or truth
 *   (end of file)       ends the program
 *
 * Formats: RFC 791, 792, 8200, 4443, 9293; packet(7) and the kernel's packet_mmap for the ring.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define DEVICE "world0"
#define LARGEST 1500       /* the device's MTU */
#define FRAME 128          /* one ring frame: 80 bytes of header, 48 of the packet */
#define BLOCK 65536
#define BLOCKS 64          /* 32,768 frames: more than one sweep can have in flight */
#define MAX_RULES 4096
#define FLOWS (1 << 20)    /* room for SYN counts, a power of two */
#define PASSED 16          /* frames kept that were stamped before their turn */
#define TURN 32            /* packets read, or written, before the other side gets its turn */

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int64_t i64;

enum outcome { STRAY, ANSWERED, REFUSED, UNREACHABLE, SILENT, LOST, SYN_LOST };
enum forgery {
    FORGE_TOKEN = 1,      /* ICMP: another payload. TCP: SYN-ACK of another sequence number */
    FORGE_SOURCE = 2,     /* the right answer from the neighbour's address */
    FORGE_SEQUENCE = 4,   /* ICMP: the next sequence number. TCP: RST of another number */
    FORGE_IDENTIFIER = 8, /* ICMP: the next identifier */
    FORGE_TRUNCATED = 16, /* ICMP: half the payload, then no payload at all */
    FORGE_ERROR = 32,     /* an unreachable that quotes a packet nobody sent */
};
enum answer { ANSWER, REFUSE, SILENCE, ERROR };

struct rule {
    u8 family;            /* 4 or 6 */
    u16 first, last;      /* the last 16 bits of the addresses it holds for, both included */
    u8 icmp, tcp;         /* enum answer */
    u8 error_type, error_code;
    u8 from_router;       /* the error comes from a router, not from the target */
    u8 forge, copies, timestamps;
    u16 quote;            /* bytes of the packet that an ICMP error quotes */
    u16 syn_lost;         /* so many first SYNs of a handshake vanish */
    u32 loss_ppm;
    u32 delay_us, jitter_us, forge_us;
};

struct trip {             /* world.py reads these: 64 bytes, native order */
    u8 family, kind, outcome, tries; /* kind: 1 ICMP, 6 TCP; tries: SYNs of this handshake so far */
    u16 server;           /* the last 16 bits of the address */
    u16 id, seq;          /* ICMP: identifier, sequence; TCP: source port, destination port */
    u16 copies;           /* right answers written, the first included */
    u32 ordinal;          /* 0 for the first request of this kind to this server */
    i64 sent_ns;          /* the kernel's stamp of the request at the device, 0 if it has none */
    i64 read_ns;          /* when this program had it */
    i64 write_ns, written_ns; /* just before and just after the first right answer; 0: none */
    i64 realtime_ns;      /* CLOCK_REALTIME less CLOCK_MONOTONIC at read_ns; the rest is monotonic */
    i64 unused;
};

struct answer_due {
    i64 due_ns;
    u64 order;            /* equal times leave in the order they came */
    u32 trip, epoch;
    u16 length;
    u8 right;             /* the true answer or error, not a forgery */
    u8 *packet;
};

static struct rule rules[MAX_RULES];
static int rule_count;
static u64 seed;
static struct trip *trips;
static u32 trip_count, trip_room, epoch;
static u32 ordinals[2][2][65536]; /* [IPv6?][TCP?][server] */
static struct { u64 key; u32 ordinal; u16 tries; } *flows; /* one for each handshake seen */
static struct answer_due *heap;
static size_t heap_count, heap_room;
static u64 orders;
static int tun;
static u8 *ring;
static u32 ring_next;
static u64 strays, untimed, unwritten;

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static i64 clock_ns(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (i64)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* CLOCK_REALTIME less CLOCK_MONOTONIC. An interruption between two readings would count as a step:
 * the closest pair of several is believed. */
static i64 realtime_offset_ns(void)
{
    i64 best = 0, best_width = INT64_MAX;
    for (int i = 0; i < 10 && best_width > 1000; i++) {
        i64 before = clock_ns(CLOCK_MONOTONIC), now = clock_ns(CLOCK_REALTIME);
        i64 width = clock_ns(CLOCK_MONOTONIC) - before;
        if (width < best_width) {
            best_width = width;
            best = now - before - width / 2;
        }
    }
    return best;
}

/* splitmix64: the same plan and seed lose the same echoes */
static u64 mix(u64 x)
{
    x += 0x9e3779b97f4a7c15ull;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
    return x ^ (x >> 31);
}

/* ---- bytes ---- */

static u16 get16(const u8 *p) { return (u16)(p[0] << 8 | p[1]); }
static u32 get32(const u8 *p) { return (u32)get16(p) << 16 | get16(p + 2); }
static void put16(u8 *p, u32 v) { p[0] = (u8)(v >> 8); p[1] = (u8)v; }
static void put32(u8 *p, u32 v) { put16(p, v >> 16); put16(p + 2, v); }

static u32 sum16(const u8 *p, size_t n, u32 sum)
{
    for (; n > 1; p += 2, n -= 2)
        sum += get16(p);
    return n ? sum + ((u32)p[0] << 8) : sum;
}

static u16 fold(u32 sum)
{
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return (u16)~sum;
}

static size_t header_length(int family) { return family == 4 ? 20 : 40; }

/* Writes the IP header in front of `body` bytes already in place, and the body's checksum at
 * `check` bytes into it. `protocol` is 1 (ICMP, ICMPv6) or 6. Returns the packet's length. */
static u16 seal(u8 *out, int family, int protocol, const u8 *from, const u8 *to, size_t body,
                size_t check)
{
    size_t head = header_length(family), width = family == 4 ? 4 : 16;
    u32 sum = 0;
    memset(out, 0, head);
    if (family == 4) {
        out[0] = 0x45;
        put16(out + 2, (u32)(head + body));
        out[6] = 0x40; /* don't fragment */
        out[8] = 60;
        out[9] = (u8)protocol;
        memcpy(out + 12, from, 4);
        memcpy(out + 16, to, 4);
        put16(out + 10, fold(sum16(out, 20, 0)));
    } else {
        out[0] = 0x60;
        put16(out + 4, (u32)body);
        out[6] = protocol == 1 ? 58 : 6;
        out[7] = 60;
        memcpy(out + 8, from, 16);
        memcpy(out + 24, to, 16);
    }
    if (protocol == 6 || family == 6) {
        sum = sum16(from, width, sum16(to, width, 0));
        sum += (u32)body + (u32)(protocol == 6 ? 6 : 58);
    }
    put16(out + head + check, 0);
    put16(out + head + check, fold(sum16(out + head, body, sum)));
    return (u16)(head + body);
}

/* ---- the answers that are due ---- */

static int earlier(const struct answer_due *a, const struct answer_due *b)
{
    return a->due_ns != b->due_ns ? a->due_ns < b->due_ns : a->order < b->order;
}

static void later(i64 due_ns, u32 trip, int right, const u8 *packet, u16 length)
{
    struct answer_due new = {due_ns, orders++, trip, epoch, length, (u8)right, malloc(length)};
    memcpy(new.packet, packet, length);
    if (heap_count == heap_room) {
        heap_room = heap_room ? heap_room * 2 : 16384;
        heap = realloc(heap, heap_room * sizeof *heap);
        if (!heap)
            die("realloc");
    }
    size_t at = heap_count++;
    while (at && earlier(&new, &heap[(at - 1) / 2])) {
        heap[at] = heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    heap[at] = new;
}

static struct answer_due pop(void)
{
    struct answer_due top = heap[0], last = heap[--heap_count];
    size_t at = 0, child;
    while ((child = 2 * at + 1) < heap_count) {
        if (child + 1 < heap_count && earlier(&heap[child + 1], &heap[child]))
            child++;
        if (!earlier(&heap[child], &last))
            break;
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = last;
    return top;
}

static void answer(void)
{
    struct answer_due due = pop();
    i64 before = clock_ns(CLOCK_MONOTONIC);
    if (write(tun, due.packet, due.length) != due.length)
        unwritten++;
    i64 after = clock_ns(CLOCK_MONOTONIC);
    free(due.packet);
    if (!due.right || due.epoch != epoch)
        return;
    struct trip *trip = &trips[due.trip];
    if (!trip->copies++) {
        trip->write_ns = before;
        trip->written_ns = after;
    }
}

/* ---- what the kernel saw leave ---- */

static void open_ring(void)
{
    int fd = socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC, 0), version = TPACKET_V2;
    struct sock_filter only_outgoing[] = {
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, (u32)(SKF_AD_OFF + SKF_AD_PKTTYPE)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, PACKET_OUTGOING, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, FRAME - 80),
        BPF_STMT(BPF_RET | BPF_K, 0),
    };
    struct sock_fprog filter = {4, only_outgoing};
    struct tpacket_req request = {BLOCK, BLOCKS, FRAME, BLOCK / FRAME * BLOCKS};
    struct sockaddr_ll where = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL)};
    where.sll_ifindex = (int)if_nametoindex(DEVICE);
    if (fd < 0 || setsockopt(fd, SOL_PACKET, PACKET_VERSION, &version, sizeof version) ||
        setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof filter) ||
        setsockopt(fd, SOL_PACKET, PACKET_RX_RING, &request, sizeof request))
        die("packet ring");
    ring = mmap(NULL, BLOCK * BLOCKS, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (ring == MAP_FAILED || bind(fd, (struct sockaddr *)&where, sizeof where))
        die("packet ring");
}

static int same_packet(const u8 *a, const u8 *b)
{
    /* addresses, the first two bytes of the body, and identifier + sequence or TCP's sequence */
    if (a[0] >> 4 == 4)
        return !memcmp(a + 12, b + 12, 10) && !memcmp(a + 24, b + 24, 4);
    return !memcmp(a + 8, b + 8, 34) && !memcmp(a + 44, b + 44, 4);
}

/* Two processors that send at once may enter the device's queue in another order than they were
 * stamped in, and the device drops when its queue is full: frames that were passed over wait here. */
static struct { u8 head[FRAME - 80]; i64 stamp_ns; } passed[PASSED];
static u32 passed_next;

static i64 passed_over(const u8 *packet)
{
    for (u32 i = 0; i < PASSED; i++) {
        i64 stamp_ns = passed[i].stamp_ns;
        if (stamp_ns && same_packet(passed[i].head, packet)) {
            passed[i].stamp_ns = 0;
            return stamp_ns;
        }
    }
    return 0;
}

/* Returns CLOCK_REALTIME in ns of when `packet` left for the device, or 0. */
static i64 stamp_of(const u8 *packet)
{
    for (int tries = 0; ring && tries < BLOCK / FRAME * BLOCKS; tries++) {
        struct tpacket2_hdr *frame = (void *)(ring + (size_t)ring_next * FRAME);
        if (!(__atomic_load_n(&frame->tp_status, __ATOMIC_ACQUIRE) & TP_STATUS_USER))
            break;
        if (!tries) {
            i64 early_ns = passed_over(packet);
            if (early_ns)
                return early_ns;
        }
        const u8 *head = (u8 *)frame + frame->tp_net;
        int same = same_packet(head, packet);
        i64 stamp_ns = (i64)frame->tp_sec * 1000000000 + frame->tp_nsec;
        if (!same) {
            memcpy(passed[passed_next].head, head, FRAME - 80);
            passed[passed_next].stamp_ns = stamp_ns;
            passed_next = (passed_next + 1) % PASSED;
        }
        __atomic_store_n(&frame->tp_status, TP_STATUS_KERNEL, __ATOMIC_RELEASE);
        ring_next = (ring_next + 1) % (BLOCK / FRAME * BLOCKS);
        if (same)
            return stamp_ns;
    }
    return ring ? passed_over(packet) : 0;
}

/* ---- one request ---- */

struct request {
    const u8 *packet;
    u16 length;
    int family, protocol; /* 1 for both ICMPs */
    const u8 *from, *to, *body;
    u16 body_length, server;
    i64 read_ns;
    const struct rule *rule;
    u32 trip;
};

static const struct rule *rule_for(int family, u16 server)
{
    for (int i = 0; i < rule_count; i++)
        if (rules[i].family == family && rules[i].first <= server && server <= rules[i].last)
            return &rules[i];
    return NULL;
}

/* A kernel stamp on CLOCK_MONOTONIC. If somebody set the clock between the stamp and our reading
 * the packet, the old offset is the right one: it gives the later time that isn't in the future. */
static i64 monotonic_of(i64 stamp_ns, const struct trip *trip)
{
    static i64 offset_ns, old_offset_ns;
    if (llabs(trip->realtime_ns - offset_ns) > 1000000)
        old_offset_ns = offset_ns;
    offset_ns = trip->realtime_ns;
    i64 new_ns = stamp_ns - offset_ns, old_ns = stamp_ns - old_offset_ns;
    if (new_ns > trip->read_ns + 100000)
        return old_ns;
    return old_offset_ns && old_ns > new_ns && old_ns <= trip->read_ns ? old_ns : new_ns;
}

static u32 new_trip(const struct request *r, i64 sent_realtime_ns)
{
    if (trip_count == trip_room) {
        trip_room = trip_room ? trip_room * 2 : 65536;
        trips = realloc(trips, trip_room * sizeof *trips);
        if (!trips)
            die("realloc");
    }
    struct trip *trip = &trips[trip_count];
    memset(trip, 0, sizeof *trip);
    trip->family = (u8)r->family;
    trip->kind = (u8)r->protocol;
    trip->server = r->server;
    trip->read_ns = r->read_ns;
    trip->realtime_ns = realtime_offset_ns();
    trip->sent_ns = sent_realtime_ns ? monotonic_of(sent_realtime_ns, trip) : 0;
    return trip_count++;
}

/* Fills `from` with the address `server` in the same range as `like`. */
static void neighbour(u8 *from, const u8 *like, int family, u16 server)
{
    size_t width = family == 4 ? 4 : 16;
    memcpy(from, like, width);
    put16(from + width - 2, server);
}

/* Schedules an ICMP error, from the target or from a router (the range's last address but one). */
static void error_back(const struct request *r, i64 due_ns, int type, int code, int from_router,
                       int wrong_quote)
{
    u8 out[LARGEST], from[16];
    size_t head = header_length(r->family);
    size_t quote = r->rule->quote < r->length ? r->rule->quote : r->length;
    if (8 + head + quote > LARGEST)
        quote = LARGEST - 8 - head;
    neighbour(from, r->to, r->family, from_router ? 0xfffe : r->server);
    u8 *body = out + head;
    memset(body, 0, 8);
    body[0] = (u8)type;
    body[1] = (u8)code;
    memcpy(body + 8, r->packet, quote);
    if (wrong_quote)
        put32(body + 8 + head + 4, get32(r->body + 4) ^ 0x5a5a5a5a);
    later(due_ns, r->trip, !wrong_quote, out, seal(out, r->family, 1, from, r->from, 8 + quote, 2));
}

/* Schedules an echo reply; `change` is what is wrong with it, 0 for the right one. */
static void echo_back(const struct request *r, i64 due_ns, int change, u16 kept)
{
    u8 out[LARGEST], from[16];
    u8 *body = out + header_length(r->family);
    neighbour(from, r->to, r->family, change == FORGE_SOURCE ? r->server ^ 1 : r->server);
    memcpy(body, r->body, r->body_length);
    body[0] = r->family == 4 ? 0 : 129;
    if (change == FORGE_TOKEN)
        for (int i = 8; i < r->body_length; i++)
            body[i] ^= 0xff;
    if (change == FORGE_SEQUENCE)
        put16(body + 6, get16(body + 6) + 1u);
    if (change == FORGE_IDENTIFIER)
        put16(body + 4, get16(body + 4) + 1u);
    later(due_ns, r->trip, !change, out, seal(out, r->family, 1, from, r->from, kept, 2));
}

/* Schedules a SYN-ACK (flags 0x12) or a RST (0x14). */
static void tcp_back(const struct request *r, i64 due_ns, int flags, int change)
{
    u8 out[LARGEST], from[16];
    u8 *tcp = out + header_length(r->family);
    u16 length = 20;
    neighbour(from, r->to, r->family, change == FORGE_SOURCE ? r->server ^ 1 : r->server);
    memset(tcp, 0, 40);
    memcpy(tcp, r->body + 2, 2);
    memcpy(tcp + 2, r->body, 2);
    if (flags & 2)
        put32(tcp + 4, (u32)mix(seed ^ r->server));
    put32(tcp + 8, get32(r->body + 4) + (change == FORGE_TOKEN || change == FORGE_SEQUENCE ? 77777 : 1));
    tcp[13] = (u8)flags;
    put16(tcp + 14, flags & 2 ? 64240 : 0);
    if (flags & 2) {
        const u8 mss[] = {2, 4, 5, 0xb4};
        memcpy(tcp + 20, mss, 4);
        length = 24;
    }
    /* a timestamp only if the SYN had one: RFC 7323 */
    for (u16 at = 20, end = (u16)((r->body[12] >> 4) * 4); (flags & 2) && r->rule->timestamps && at + 10 <= end;) {
        if (r->body[at] == 8) {
            tcp[24] = tcp[25] = 1;
            tcp[26] = 8;
            tcp[27] = 10;
            put32(tcp + 28, (u32)(r->read_ns / 1000000));
            memcpy(tcp + 32, r->body + at + 2, 4);
            length = 36;
            break;
        }
        if (r->body[at] == 0)
            break;
        at += r->body[at] == 1 ? 1 : r->body[at + 1] ? r->body[at + 1] : 40;
    }
    tcp[12] = (u8)(length / 4 << 4);
    later(due_ns, r->trip, !change, out, seal(out, r->family, 6, from, r->from, length, 16));
}

static void forge(const struct request *r)
{
    i64 due_ns = r->read_ns + (i64)r->rule->forge_us * 1000;
    int forged = r->rule->forge, icmp = r->protocol == 1;
    for (int one = 1; one <= FORGE_IDENTIFIER; one <<= 1)
        if (forged & one && icmp)
            echo_back(r, due_ns, one, r->body_length);
    if (forged & FORGE_TRUNCATED && icmp) {
        echo_back(r, due_ns, FORGE_TRUNCATED, (u16)(8 + (r->body_length - 8) / 2));
        echo_back(r, due_ns, FORGE_TRUNCATED, 8);
    }
    if (forged & FORGE_TOKEN && !icmp)
        tcp_back(r, due_ns, 0x12, FORGE_TOKEN);
    if (forged & FORGE_SOURCE && !icmp)
        tcp_back(r, due_ns, 0x12, FORGE_SOURCE);
    if (forged & FORGE_SEQUENCE && !icmp)
        tcp_back(r, due_ns, 0x14, FORGE_SEQUENCE);
    if (forged & FORGE_ERROR)
        error_back(r, due_ns, r->family == 4 ? 3 : 1, r->family == 4 ? 1 : 3, 0, 1);
}

static void respond(const struct request *r, struct trip *trip)
{
    const struct rule *rule = r->rule;
    u64 luck = mix(seed ^ mix((u64)r->family << 40 | (u64)r->protocol << 32 | r->server) ^ mix(trip->ordinal));
    int kind = r->protocol == 1 ? rule->icmp : rule->tcp;
    i64 due_ns = r->read_ns + (i64)rule->delay_us * 1000;
    if (rule->jitter_us)
        due_ns += (i64)(mix(luck) % rule->jitter_us) * 1000;
    if (rule->forge)
        forge(r);
    if (r->protocol == 6 && trip->tries <= rule->syn_lost)
        trip->outcome = SYN_LOST;
    else if (kind == SILENCE)
        trip->outcome = SILENT;
    else if (luck % 1000000 < rule->loss_ppm)
        trip->outcome = LOST;
    else if (kind == ERROR) {
        trip->outcome = UNREACHABLE;
        error_back(r, due_ns, rule->error_type, rule->error_code, rule->from_router, 0);
    } else {
        trip->outcome = kind == REFUSE ? REFUSED : ANSWERED;
        for (int i = 0; i <= rule->copies; i++, due_ns += 300000) {
            if (r->protocol == 1)
                echo_back(r, due_ns, 0, r->body_length);
            else
                tcp_back(r, due_ns, kind == REFUSE ? 0x14 : 0x12, 0);
        }
    }
}

/* Numbers a SYN: which handshake with this server it belongs to, and which try of it it is. */
static void count_syn(const struct request *r, struct trip *trip)
{
    u64 key = mix(seed ^ mix((u64)get32(r->body) << 32 | get32(r->body + 4)) ^ r->server) ^ (u64)r->family;
    u64 at = key & (FLOWS - 1);
    while (flows[at].tries && flows[at].key != key)
        at = (at + 1) & (FLOWS - 1);
    if (!flows[at].tries)
        flows[at].ordinal = ordinals[r->family == 6][1][r->server]++;
    flows[at].key = key;
    trip->tries = (u8)++flows[at].tries;
    trip->ordinal = flows[at].ordinal;
}

/* A FIN is answered at once with FIN and ACK, so that no half-closed socket stays in the kernel. */
static void close_back(const struct request *r)
{
    u8 out[64];
    u8 *tcp = out + header_length(r->family);
    memset(tcp, 0, 20);
    memcpy(tcp, r->body + 2, 2);
    memcpy(tcp + 2, r->body, 2);
    memcpy(tcp + 4, r->body + 8, 4);
    put32(tcp + 8, get32(r->body + 4) + 1);
    tcp[12] = 0x50;
    tcp[13] = 0x11;
    put16(tcp + 14, 64240);
    u16 length = seal(out, r->family, 6, r->to, r->from, 20, 16);
    if (write(tun, out, length) != length)
        unwritten++;
}

static void receive(const u8 *packet, u16 length)
{
    struct request r = {.packet = packet, .length = length, .family = packet[0] >> 4};
    i64 sent_ns = stamp_of(packet);
    size_t head = header_length(r.family), width = r.family == 4 ? 4 : 16;
    r.read_ns = clock_ns(CLOCK_MONOTONIC);
    if (length < head + 8 || (r.family == 4 && packet[0] != 0x45)) {
        strays++;
        return;
    }
    u8 protocol = r.family == 4 ? packet[9] : packet[6];
    r.protocol = protocol == 58 ? 1 : protocol;
    r.from = packet + head - 2 * width;
    r.to = packet + head - width;
    r.body = packet + head;
    r.body_length = (u16)(length - head);
    r.server = get16(r.to + width - 2);
    int request = protocol == (r.family == 4 ? 1 : 58) && r.body[0] == (r.family == 4 ? 8 : 128);
    int syn = protocol == 6 && r.body_length >= 20 && (r.body[13] & 0x17) == 2;
    r.rule = rule_for(r.family, r.server);
    if ((!request && !syn) || !r.rule) {
        if (protocol != 6)
            strays++;
        else if (r.body_length >= 20 && r.body[13] & 1)
            close_back(&r);
        return;
    }
    untimed += ring && !sent_ns;
    r.trip = new_trip(&r, sent_ns);
    struct trip *trip = &trips[r.trip];
    trip->id = get16(r.body + (syn ? 0 : 4));
    trip->seq = get16(r.body + (syn ? 2 : 6));
    trip->tries = 1;
    if (syn)
        count_syn(&r, trip);
    else
        trip->ordinal = ordinals[r.family == 6][0][r.server]++;
    respond(&r, trip);
}

/* ---- orders from world.py ---- */

static u8 answer_named(const char *name)
{
    return !strcmp(name, "refuse") ? REFUSE : !strcmp(name, "silent") ? SILENCE : !strcmp(name, "error") ? ERROR : ANSWER;
}

/* family first last icmp tcp delay_us jitter_us loss_ppm copies syn_lost timestamps
 * error_type error_code from_router quote forge forge_us */
static void read_rule(struct rule *rule)
{
    char line[512], icmp[16], tcp[16];
    unsigned v[15];
    if (!fgets(line, sizeof line, stdin) ||
        sscanf(line, "%u %u %u %15s %15s %u %u %u %u %u %u %u %u %u %u %u %u", v, v + 1, v + 2, icmp, tcp,
               v + 3, v + 4, v + 5, v + 6, v + 7, v + 8, v + 9, v + 10, v + 11, v + 12, v + 13, v + 14) != 17) {
        fprintf(stderr, "not a rule: %s", line);
        exit(1);
    }
    *rule = (struct rule){
        .family = (u8)v[0], .first = (u16)v[1], .last = (u16)v[2],
        .icmp = answer_named(icmp), .tcp = answer_named(tcp),
        .delay_us = v[3], .jitter_us = v[4], .loss_ppm = v[5], .copies = (u8)v[6],
        .syn_lost = (u16)v[7], .timestamps = (u8)v[8], .error_type = (u8)v[9], .error_code = (u8)v[10],
        .from_router = (u8)v[11], .quote = (u16)v[12], .forge = (u8)v[13], .forge_us = v[14],
    };
}

static void forget(void)
{
    epoch++; /* answers still due belong to trips that are gone */
    trip_count = 0;
    strays = untimed = unwritten = 0;
}

static void new_plan(u64 new_seed, int count)
{
    if (count > MAX_RULES)
        exit(1);
    seed = new_seed;
    for (rule_count = 0; rule_count < count; rule_count++)
        read_rule(&rules[rule_count]);
    memset(ordinals, 0, sizeof ordinals);
    memset(flows, 0, FLOWS * sizeof *flows);
    while (heap_count) /* the old world's late answers must not reach the new one's sweep */
        free(pop().packet);
    forget();
    printf("ok\n");
}

static void write_truth(const char *path)
{
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(trips, sizeof *trips, trip_count, file) != trip_count || fclose(file))
        die(path);
    printf("ok %u %llu %llu %llu\n", trip_count, (unsigned long long)strays, (unsigned long long)untimed,
           (unsigned long long)unwritten);
    forget();
}

static void obey(void)
{
    char line[1024], path[1000];
    unsigned long long new_seed;
    int count;
    if (!fgets(line, sizeof line, stdin))
        exit(0);
    if (sscanf(line, "plan %llu %d", &new_seed, &count) == 2)
        new_plan(new_seed, count);
    else if (sscanf(line, "truth %999s", path) == 1)
        write_truth(path);
    else
        exit(1);
    fflush(stdout);
}

static void open_device(void)
{
    struct ifreq request = {.ifr_flags = IFF_TUN | IFF_NO_PI};
    strcpy(request.ifr_name, DEVICE);
    tun = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (tun < 0 || ioctl(tun, TUNSETIFF, &request))
        die("/dev/net/tun");
}

/* Reads up to TURN packets, writes up to TURN due answers; returns how many it did. */
static int turn(void)
{
    static u8 packet[65536];
    int done = 0;
    for (int i = 0; i < TURN && heap_count && heap[0].due_ns <= clock_ns(CLOCK_MONOTONIC); i++, done++)
        answer();
    for (int i = 0; i < TURN; i++, done++) {
        ssize_t n = read(tun, packet, sizeof packet);
        if (n <= 0)
            break;
        if (n <= LARGEST)
            receive(packet, (u16)n);
    }
    return done;
}

int main(int argc, char **argv)
{
    i64 spin_ns = 0, busy_until = 0;
    int timed = 1;
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--spin")) /* stay awake between packets: a truer delay for a core */
            spin_ns = 60000000;
        else if (!strcmp(argv[i], "--untimed"))
            timed = 0;
    }
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    prctl(PR_SET_TIMERSLACK, 1000);
    setpriority(PRIO_PROCESS, 0, -10);
    setvbuf(stdin, NULL, _IOFBF, 1 << 20);
    flows = calloc(FLOWS, sizeof *flows);
    if (!flows || unshare(CLONE_NEWNET))
        die("a network namespace of its own (needs root)");
    open_device();
    if (timed)
        open_ring();
    printf("ready\n");
    fflush(stdout);
    for (;;) {
        i64 now = clock_ns(CLOCK_MONOTONIC);
        if (turn())
            busy_until = now + spin_ns;
        else if (now < busy_until)
            continue;
        else {
            struct pollfd both[] = {{tun, POLLIN, 0}, {0, POLLIN, 0}};
            struct timespec wait, *until = NULL;
            if (heap_count) {
                i64 left = heap[0].due_ns - now;
                left = left > 0 ? left : 0;
                wait = (struct timespec){left / 1000000000, left % 1000000000};
                until = &wait;
            }
            ppoll(both, 2, until, NULL);
            if (both[1].revents)
                obey();
        }
    }
}
