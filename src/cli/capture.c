/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The reader of a capture. Workers write into rings of shared memory and wake nobody, so these are looked at a few
 * hundred times a second; the connection only says when vmqd is gone.
 */
#include "cli/capture.h"
#include "cli/pcapng.h"
#include "cli/place.h"
#include "cli/show.h"
#include "util/mac.h"

#include <errno.h>
#include <fcntl.h>
#include <net/ethernet.h>
#include <pcap/pcap.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
	LOOK_MS = 5,
	TELL_BYTES = CAPTURE_RING_BYTES / 64, /* room is given back in pieces: each costs the worker a line of its cache */
	COMMENT_BYTES = 256,
};

/* Workers have surely finished records that are older. */
#define SETTLED_NS UINT64_C(1000000)

/* Our end of a ring. */
struct cursor {
	uint64_t tail;               /* read so far */
	uint64_t told;               /* to the worker */
	uint64_t head;               /* as it was last seen */
};

/* One run of the command. */
struct look {
	const struct session *session;
	const char *filter;          /* as given; NULL: none */
	uint32_t snap_bytes;
	uint64_t limit;              /* frames; 0: no limit */
	FILE *out;
	int out_error;               /* errno of the write that failed; 0: none has */
	bool pcapng;
	struct client *client;
	struct capture_area *area;
	size_t area_bytes;
	struct cursor *cursors;      /* by ring */
	bool is_gone;                /* vmqd went away without a word */
	uint64_t seen;
	struct places places;
};

static volatile sig_atomic_t interrupted;

static void
on_signal(int number)
{
	(void)number;
	interrupted = 1;
}

static uint64_t
now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* What is asked of vmqd */

/* As `tcpdump -ddd` prints it, with commas for line ends. @return NULL: no memory. */
static char *
program_text(const struct bpf_program *program)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	if (!out)
		return NULL;
	fprintf(out, "%u", program->bf_len);
	for (u_int i = 0; i < program->bf_len; i++)
		fprintf(out, ",%u %u %u %u", program->bf_insns[i].code, program->bf_insns[i].jt,
			program->bf_insns[i].jf, program->bf_insns[i].k);
	fclose(out);
	return text;
}

/* Here, not in vmqd: names in it may be looked up in files and the DNS. */
static int
filter_compile(const struct look *look, json_t *params, struct refusal *why)
{
	struct bpf_program program;
	pcap_t *pcap;
	char *text;
	int error = 0;

	if (!look->filter)
		return 0;
	pcap = pcap_open_dead(DLT_EN10MB, (int)look->snap_bytes);
	if (!pcap)
		return refuse(why, -ENOMEM, "out of memory");
	if (pcap_compile(pcap, &program, look->filter, 1, PCAP_NETMASK_UNKNOWN)) {
		error = refuse(why, -EINVAL, "filter \"%s\": %s", look->filter, pcap_geterr(pcap));
	} else {
		text = program_text(&program);
		json_object_set_new(params, "filter", json_string(text ? text : ""));
		free(text);
		pcap_freecode(&program);
	}
	pcap_close(pcap);
	return error;
}

static int
area_map(struct look *look, int file, struct refusal *why)
{
	struct stat found;

	if (file < 0 || fstat(file, &found))
		return refuse(why, -EPROTO, "vmqd handed over no memory");
	look->area_bytes = (size_t)found.st_size;
	look->area = mmap(NULL, look->area_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	if (look->area == MAP_FAILED) {
		look->area = NULL;
		return refuse(why, -errno, "mmap: %s", strerror(errno));
	}
	if (look->area->version != CAPTURE_VERSION || look->area_bytes != capture_area_bytes(look->area->ring_count))
		return refuse(why, -EPROTO, "vmqd is of another version: restart it, or use its vmqctl");
	look->cursors = calloc(look->area->ring_count, sizeof(look->cursors[0]));
	return look->cursors ? 0 : refuse(why, -ENOMEM, "out of memory");
}

static enum session_exit
begin(struct look *look, json_t *params, struct refusal *why)
{
	json_t *result;
	enum session_exit exit = session_ask(look->session->socket, &look->client, "capture", params, &result, why);
	int file;

	if (exit != SESSION_DONE)
		return exit;
	json_decref(result);
	file = client_take_file(look->client);
	if (area_map(look, file, why))
		exit = SESSION_REFUSED;
	if (file >= 0)
		close(file);
	return exit;
}

/* Frames */

static const char *
reason_of(const struct look *look, const struct capture_record *record)
{
	return record->place == CAPTURE_DROPPED ? look->area->reasons[record->reason % CAPTURE_REASONS_MAX] : NULL;
}

/* What the frame itself does not say. */
static void
comment_write(struct look *look, struct place *place, const struct capture_record *record, const uint8_t *bytes,
	      char comment[COMMENT_BYTES])
{
	const json_int_t filter = place_filter(&look->places, place, record, bytes);
	const char *reason = reason_of(look, record);
	FILE *out = fmemopen(comment, COMMENT_BYTES, "w");

	if (!out)
		abort();
	if (place->kind == CAPTURE_QUEUE)
		fprintf(out, ", queue %u", place->queue);
	if (*place->vm)
		fprintf(out, ", VM %s", place->vm);
	if (filter >= 0)
		fprintf(out, ", filter %" JSON_INTEGER_FORMAT, filter);
	if (record->flags & CAPTURE_HAS_VLAN)
		fprintf(out, ", VLAN %u beside it", record->vlan);
	if (record->flags & CAPTURE_GSO)
		fprintf(out, ", to be cut");
	if (reason)
		fprintf(out, ", dropped: %s", reason);
	fclose(out);
}

static void
show_pcapng(struct look *look, struct place *place, const struct capture_record *record, const uint8_t *bytes,
	    const char *comment)
{
	const struct pcapng_interface interface = { place->name, place->vm, look->filter, look->snap_bytes };
	const struct pcapng_frame frame = {
		.interface = place->index,
		.time_ns = record->time_ns,
		.inbound = record->flags & CAPTURE_INBOUND,
		.frame_bytes = record->frame_bytes,
		.kept_bytes = record->kept_bytes,
		.bytes = bytes,
		.comment = comment,
	};

	if (!place->received)
		pcapng_write_interface(look->out, &interface);
	pcapng_write_frame(look->out, &frame);
}

static json_t *
mac_json(const uint8_t *bytes)
{
	char text[MAC_TEXT_SIZE];

	mac_format(mac_load(bytes), text);
	return json_string(text);
}

static void
show_object(struct look *look, struct place *place, const struct capture_record *record, const uint8_t *bytes)
{
	const json_int_t filter = place_filter(&look->places, place, record, bytes);
	const char *reason = reason_of(look, record);
	json_t *object = json_pack("{s:I, s:s, s:s, s:i, s:s, s:i}", "time_ns", (json_int_t)record->time_ns, "place",
				   place->name, "adapter", place->adapter_name, "queue", place->queue, "direction",
				   record->flags & CAPTURE_INBOUND ? "in" : "out", "length", (int)record->frame_bytes);

	if (*place->vm)
		json_object_set_new(object, "vm", json_string(place->vm));
	if (filter >= 0)
		json_object_set_new(object, "filter", json_integer(filter));
	if (record->flags & CAPTURE_HAS_VLAN)
		json_object_set_new(object, "vlan", json_integer(record->vlan));
	if (reason) {
		json_object_del(object, "direction");
		json_object_set_new(object, "dropped", json_string(reason));
	}
	if (record->kept_bytes >= ETHER_HDR_LEN) {
		json_object_set_new(object, "dst", mac_json(bytes));
		json_object_set_new(object, "src", mac_json(bytes + 6));
		json_object_set_new(object, "ethertype", json_integer(bytes[12] << 8 | bytes[13]));
	}
	show_json(object, true);
	json_decref(object);
}

/* "12:00:01.000000001 eth0 queue 3 in 52:54:00:00:00:01 > 52:54:00:00:00:02, ethertype 0x0800, length 60, …" */
static void
show_line(const struct look *look, const struct place *place, const struct capture_record *record, const uint8_t *bytes,
	  const char *comment)
{
	const time_t seconds = (time_t)(record->time_ns / 1000000000);
	char clock[16], dst[MAC_TEXT_SIZE], src[MAC_TEXT_SIZE];
	struct tm local;

	strftime(clock, sizeof(clock), "%H:%M:%S", localtime_r(&seconds, &local));
	fprintf(look->out, "%s.%09u %s", clock, (unsigned)(record->time_ns % 1000000000), place->name);
	if (record->place != CAPTURE_DROPPED)
		fprintf(look->out, " %s", record->flags & CAPTURE_INBOUND ? "in" : "out");
	if (record->kept_bytes >= ETHER_HDR_LEN) {
		mac_format(mac_load(bytes), dst);
		mac_format(mac_load(bytes + 6), src);
		fprintf(look->out, " %s > %s, ethertype 0x%02x%02x", src, dst, bytes[12], bytes[13]);
	}
	fprintf(look->out, ", length %u%s\n", record->frame_bytes, comment);
}

/* Soon after each write: the stream only remembers that it failed. */
static void
out_check(struct look *look)
{
	if (ferror(look->out) && !look->out_error)
		look->out_error = errno;
}

static void
show_frame(struct look *look, const struct capture_record *record)
{
	const uint8_t *bytes = (const uint8_t *)(record + 1);
	struct place *place = place_of(&look->places, look->area, record);
	char comment[COMMENT_BYTES] = "";

	if (!look->pcapng && look->session->json) {
		show_object(look, place, record, bytes);
	} else {
		comment_write(look, place, record, bytes, comment);
		if (look->pcapng)
			show_pcapng(look, place, record, bytes, comment + strspn(comment, ", "));
		else
			show_line(look, place, record, bytes, comment);
	}
	out_check(look);
	place->received++;
	look->seen++;
}

/* Rings */

static const uint8_t *
ring_data(const struct look *look, uint32_t ring)
{
	return (const uint8_t *)look->area + capture_data_offset(look->area->ring_count) +
	       (size_t)ring * CAPTURE_RING_BYTES;
}

/* The oldest record of a ring. @return NULL: it is empty. */
static const struct capture_record *
ring_first(struct look *look, uint32_t index)
{
	struct cursor *cursor = &look->cursors[index];

	if (cursor->tail == cursor->head)
		cursor->head = atomic_load_explicit(&look->area->rings[index].head, memory_order_acquire);
	while (cursor->tail != cursor->head) {
		const uint32_t offset = cursor->tail % CAPTURE_RING_BYTES, to_end = CAPTURE_RING_BYTES - offset;
		const struct capture_record *record = (const void *)(ring_data(look, index) + offset);

		if (to_end >= sizeof(*record) && record->place != CAPTURE_PADDING)
			return record;
		cursor->tail += to_end;
	}
	return NULL;
}

static void
ring_tell(struct look *look, uint32_t index)
{
	struct cursor *cursor = &look->cursors[index];

	atomic_store_explicit(&look->area->rings[index].tail, cursor->tail, memory_order_release);
	cursor->told = cursor->tail;
}

static void
ring_advance(struct look *look, uint32_t index, const struct capture_record *record)
{
	struct cursor *cursor = &look->cursors[index];

	cursor->tail += capture_record_bytes(record->kept_bytes);
	if (cursor->tail - cursor->told >= TELL_BYTES)
		ring_tell(look, index);
}

static bool
is_enough(const struct look *look)
{
	return look->limit && look->seen >= look->limit;
}

/* Show what came up to a time, the oldest of all rings first. */
static void
show_until(struct look *look, uint64_t until_ns)
{
	while (!is_enough(look) && !look->out_error) {
		const struct capture_record *oldest = NULL;
		uint32_t of = 0;

		for (uint32_t i = 0; i < look->area->ring_count; i++) {
			const struct capture_record *record = ring_first(look, i);

			if (record && record->time_ns <= until_ns && (!oldest || record->time_ns < oldest->time_ns)) {
				oldest = record;
				of = i;
			}
		}
		if (!oldest)
			break;
		show_frame(look, oldest);
		ring_advance(look, of, oldest);
	}
	for (uint32_t i = 0; i < look->area->ring_count; i++)
		ring_tell(look, i);
	fflush(look->out);
	out_check(look);
}

/* @return false: vmqd is gone, or who reads what is shown. */
static bool
wait_a_while(struct look *look)
{
	struct pollfd watched[] = { { .fd = client_handle(look->client), .events = POLLIN },
				    { .fd = fileno(look->out), .events = 0 } };
	const bool is_idle = poll(watched, 2, LOOK_MS) <= 0;

	look->is_gone = !is_idle && watched[0].revents && !atomic_load(&look->area->over);
	return is_idle;
}

static void
show_all(struct look *look)
{
	while (!interrupted && !is_enough(look) && !look->out_error) {
		const bool over = atomic_load(&look->area->over);

		show_until(look, over ? UINT64_MAX : now_ns() - SETTLED_NS);
		if (over || !wait_a_while(look))
			break;
	}
	show_until(look, UINT64_MAX);
}

static uint64_t
missed(const struct look *look)
{
	uint64_t frames = 0;

	for (uint32_t i = 0; i < look->area->ring_count; i++)
		frames += atomic_load(&look->area->rings[i].missed);
	return frames;
}

/* Frames that were missed belong to no interface: the first has them. */
static void
end(struct look *look, uint64_t frames_missed)
{
	for (uint32_t i = 0; look->pcapng && i < look->places.count; i++)
		pcapng_write_statistics(look->out, i, now_ns(), look->places.list[i]->received, i ? 0 : frames_missed);
	fflush(look->out);
	out_check(look);
	fprintf(stderr, "%llu frames captured, %llu missed because they came too fast%s\n",
		(unsigned long long)look->seen, (unsigned long long)frames_missed,
		atomic_load(&look->area->over) ? "; what was watched is gone" : "");
}

/* A file is for who made it: it holds what VMs say. */
static int
out_open(struct look *look, struct refusal *why)
{
	const char *file = look->session->write_file;
	int handle;

	look->pcapng = file;
	look->out = stdout;
	if (!file)
		return 0;
	if (!strcmp(file, "-"))
		return isatty(STDOUT_FILENO) ? refuse(why, -EINVAL, "-w - writes no text: pipe it into a program") : 0;
	handle = open(file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (handle < 0)
		return refuse(why, -errno, "%s: %s", file, strerror(errno));
	look->out = fdopen(handle, "w");
	return look->out ? 0 : refuse(why, -ENOMEM, "out of memory");
}

static int
out_close(struct look *look, struct refusal *why)
{
	if (look->out == stdout) /* main() looks at that */
		return 0;
	if (fclose(look->out) && !look->out_error)
		look->out_error = errno;
	if (!look->out_error)
		return 0;
	return refuse(why, -look->out_error, "%s: %s", look->session->write_file, strerror(look->out_error));
}

/* The file is opened last: what vmqd refuses leaves it as it was. */
static enum session_exit
run(struct look *look, json_t *params, struct refusal *why)
{
	enum session_exit exit;

	if (filter_compile(look, params, why))
		return SESSION_USAGE;
	exit = begin(look, params, why);
	if (exit != SESSION_DONE)
		return exit;
	if (out_open(look, why))
		return SESSION_REFUSED;
	fprintf(stderr, "capturing; an interrupt (Ctrl-C) ends it\n");
	if (look->pcapng)
		pcapng_write_header(look->out);
	show_all(look);
	end(look, missed(look));
	if (out_close(look, why))
		return SESSION_REFUSED;
	if (!look->is_gone)
		return SESSION_DONE;
	refuse(why, -ECONNRESET, "vmqd went away");
	return SESSION_UNREACHABLE;
}

enum session_exit
capture_run(const struct session *session, const json_t *given, struct refusal *why)
{
	/* It only ends the wait: what is being asked or written is done first. */
	const struct sigaction interrupt = { .sa_handler = on_signal, .sa_flags = SA_RESTART };
	const struct sigaction ignore = { .sa_handler = SIG_IGN };
	json_t *params = json_copy((json_t *)given);
	const json_t *snap = json_object_get(given, "snap");
	struct look look = {
		.session = session,
		.filter = json_string_value(json_object_get(given, "filter")),
		.snap_bytes = snap ? (uint32_t)json_integer_value(snap) : CAPTURE_SNAP_MAX,
		.limit = (uint64_t)json_integer_value(json_object_get(given, "count")),
		.places = { .socket = session->socket },
	};
	struct sigaction before[3];
	enum session_exit exit;

	json_object_del(params, "count");
	interrupted = 0;
	sigaction(SIGINT, &interrupt, &before[0]);
	sigaction(SIGTERM, &interrupt, &before[1]);
	sigaction(SIGPIPE, &ignore, &before[2]);
	exit = run(&look, params, why);
	sigaction(SIGINT, &before[0], NULL);
	sigaction(SIGTERM, &before[1], NULL);
	sigaction(SIGPIPE, &before[2], NULL);
	places_free(&look.places);
	free(look.cursors);
	client_close(look.client);
	if (look.area)
		munmap(look.area, look.area_bytes);
	json_decref(params);
	return exit;
}
