/* SPDX-License-Identifier: BSD-3-Clause */
/* The terminal of `vmqctl top`: a table that is sorted and walked through by keys, and a page for one queue. */
#include "cli/rates.h"
#include "cli/table.h"
#include "cli/top.h"

#include <curses.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
	TITLE_LINE,
	TOTAL_LINE,
	HEAD_LINE,
	FIRST_LINE,
	KEY_REDRAW = 12, /* Ctrl-L */
	KEY_ESCAPE = 27,
	ESCAPE_DELAY_MS = 50,
	PAGE_STEP = 10,
	LINE_BYTES = 256,
};

/* What is shown of what was sampled. */
struct screen {
	struct top *top;
	size_t chosen;          /* row */
	size_t first;           /* row at FIRST_LINE */
	bool one;               /* only the chosen queue, whole */
	int above;              /* lines of it that are out of sight */
	bool held;              /* no new samples */
	bool ended;
	json_t *row;            /* it, when it was chosen: its queue stays so when rows change places */
};

/* Lines that do not fit are cut, and so are those beneath the last. */
static void
line_show(int line, attr_t attributes, const char *text, size_t length)
{
	if (line >= LINES)
		return;
	move(line, 0);
	clrtoeol();
	attron(attributes);
	addnstr(text, (int)length < COLS ? (int)length : COLS);
	attroff(attributes);
}

static void
title_show(const struct screen *screen)
{
	const struct top *top = screen->top;
	char text[LINE_BYTES];
	int length = snprintf(text, sizeof(text), "vmqctl top%s%s  every %u s, by %s%s   %s", top->adapter ? " " : "",
			      top->adapter ? top->adapter : "", top->interval_s, top->by, screen->held ? ", held" : "",
			      screen->one ? "Esc back  p hold  q quit" : "r t d i sort  Enter look  p hold  q quit");

	line_show(TITLE_LINE, A_BOLD, text, (size_t)length < sizeof(text) ? (size_t)length : sizeof(text) - 1);
}

static void
total_show(const struct top *top)
{
	json_int_t rx = 0, tx = 0, drops = 0;
	char text[LINE_BYTES], rates[3][RATE_TEXT_SIZE];
	const json_t *row;
	size_t i;

	json_array_foreach(top->rows, i, row) {
		rx += json_integer_value(json_object_get(row, "rx_packets_per_s"));
		tx += json_integer_value(json_object_get(row, "tx_packets_per_s"));
		drops += rates_drops(row);
	}
	rate_format(rx, rates[0]);
	rate_format(tx, rates[1]);
	rate_format(drops, rates[2]);
	line_show(TOTAL_LINE, A_NORMAL, text,
		  (size_t)snprintf(text, sizeof(text),
				   "%zu queues: %s frames a second to VMs and host, %s from them, %s dropped",
				   json_array_size(top->rows), rates[0], rates[1], rates[2]));
}

/* The row of the queue that was chosen; if it is gone, the one in its place. */
static void
chosen_find(struct screen *screen)
{
	const size_t count = json_array_size(screen->top->rows);
	const json_t *found = screen->row ? rates_find(screen->top->rows, screen->row) : NULL, *row;
	size_t i;

	json_array_foreach(screen->top->rows, i, row)
		if (row == found)
			screen->chosen = i;
	if (screen->chosen >= count)
		screen->chosen = count ? count - 1 : 0;
}

static void
choose(struct screen *screen, size_t index)
{
	const size_t count = json_array_size(screen->top->rows);

	screen->chosen = index < count ? index : count ? count - 1 : 0;
	json_decref(screen->row);
	screen->row = json_incref(json_array_get(screen->top->rows, screen->chosen));
}

/* Keep the chosen row in sight, and no room empty that rows could have. */
static void
scroll_to_chosen(struct screen *screen)
{
	const size_t room = LINES > FIRST_LINE ? (size_t)(LINES - FIRST_LINE) : 1;
	const size_t count = json_array_size(screen->top->rows);

	if (screen->first + room > count)
		screen->first = count > room ? count - room : 0;
	if (screen->chosen < screen->first)
		screen->first = screen->chosen;
	if (screen->chosen >= screen->first + room)
		screen->first = screen->chosen - room + 1;
}

static int
table_show(struct screen *screen)
{
	char *text = table_text(table_by_method("top"), screen->top->rows, COLS), *rest = text, *line;
	size_t row = 0;

	if (!text)
		return -ENOMEM;
	scroll_to_chosen(screen);
	line = strsep(&rest, "\n");
	line_show(HEAD_LINE, A_REVERSE, line, strlen(line));
	for (; (line = strsep(&rest, "\n")) && *line; row++)
		if (row >= screen->first)
			line_show(FIRST_LINE + (int)(row - screen->first),
				  row == screen->chosen ? A_STANDOUT : A_NORMAL, line, strlen(line));
	free(text);
	return 0;
}

/* "name  value", cut like the others, and left out above the first line. */
static void
member_show(int line, const char *name, const json_t *value)
{
	char *text = NULL;
	size_t size;
	FILE *out = line >= TOTAL_LINE ? open_memstream(&text, &size) : NULL;

	if (!out)
		return;
	fprintf(out, "%-24s ", name);
	value_print(out, value);
	fclose(out);
	line_show(line, A_NORMAL, text, size);
	free(text);
}

/* Its rates, then everything that vmqd says of it. */
static void
queue_show(const struct screen *screen)
{
	const json_t *row = json_array_get(screen->top->rows, screen->chosen), *value;
	int line = TOTAL_LINE - screen->above;
	const char *name;

	json_object_foreach((json_t *)row, name, value)
		if (strstr(name, "_per_s"))
			member_show(line++, name, value);
	json_object_foreach((json_t *)rates_find(screen->top->before, row), name, value)
		member_show(line++, name, value);
}

static int
draw(struct screen *screen)
{
	int error = 0;

	erase();
	title_show(screen);
	if (screen->one) {
		queue_show(screen);
	} else {
		total_show(screen->top);
		error = table_show(screen);
	}
	refresh();
	return error;
}

static void
move_by(struct screen *screen, int lines)
{
	const int last = (int)json_object_size(json_array_get(screen->top->before, 0));
	const int to = (screen->one ? screen->above : (int)screen->chosen) + lines;

	if (!screen->one)
		choose(screen, to < 0 ? 0 : (size_t)to);
	else
		screen->above = to < 0 ? 0 : to < last ? to : last;
}

static void
look_into(struct screen *screen, bool one)
{
	screen->one = one;
	screen->above = 0;
}

static void
sort_by(struct screen *screen, const char *by)
{
	screen->top->by = by;
	rates_sort(screen->top->rows, by);
	choose(screen, 0);
}

static void
on_key(struct screen *screen, int key)
{
	static const struct {
		int key;
		const char *by;
	} orders[] = { { 'r', "rx" }, { 't', "tx" }, { 'd', "drops" }, { 'i', "id" } };
	static const struct {
		int key, lines;
	} moves[] = { { KEY_UP, -1 }, { 'k', -1 }, { KEY_DOWN, 1 }, { 'j', 1 }, { KEY_PPAGE, -PAGE_STEP },
		      { KEY_NPAGE, PAGE_STEP } };

	for (size_t i = 0; i < sizeof(orders) / sizeof(orders[0]); i++)
		if (key == orders[i].key)
			sort_by(screen, orders[i].by);
	for (size_t i = 0; i < sizeof(moves) / sizeof(moves[0]); i++)
		if (key == moves[i].key)
			move_by(screen, moves[i].lines);
	switch (key) {
	case 'q':
		screen->ended = true;
		break;
	case 'p':
		screen->held = !screen->held;
		break;
	case '\n':
	case KEY_ENTER:
		look_into(screen, !screen->one);
		break;
	case KEY_ESCAPE:
		look_into(screen, false);
		break;
	case KEY_REDRAW:
		clearok(stdscr, true);
		break;
	}
}

/* Whether nobody sits at the terminal any more. */
static bool
is_gone(void)
{
	struct pollfd keys = { .fd = STDIN_FILENO, .events = POLLIN };

	return poll(&keys, 1, 0) > 0 && keys.revents & (POLLHUP | POLLERR);
}

static enum session_exit
turn(struct screen *screen, struct refusal *why)
{
	enum session_exit exit = SESSION_DONE;
	int key;

	if (draw(screen)) {
		refuse(why, -ENOMEM, "out of memory");
		return SESSION_REFUSED;
	}
	timeout(screen->held ? -1 : top_wait_ms(screen->top));
	key = getch();
	if (key != ERR) {
		on_key(screen, key);
	} else if (is_gone()) {
		screen->ended = true;
	} else if (!screen->held && !top_wait_ms(screen->top)) {
		exit = top_sample(screen->top, why);
		chosen_find(screen);
	}
	return exit;
}

enum session_exit
screen_run(struct top *top, struct refusal *why)
{
	struct screen screen = { .top = top };
	SCREEN *terminal = newterm(NULL, stdout, stdin);
	enum session_exit exit = SESSION_DONE;

	if (!terminal) {
		refuse(why, -ENOTTY,
		       "TERM names no terminal that is known here: set it, or pipe the output into another program");
		return SESSION_REFUSED;
	}
	cbreak();
	noecho();
	curs_set(0);
	keypad(stdscr, true);
	set_escdelay(ESCAPE_DELAY_MS);
	choose(&screen, 0);
	while (exit == SESSION_DONE && !screen.ended)
		exit = turn(&screen, why);
	endwin();
	delscreen(terminal);
	json_decref(screen.row);
	return exit;
}
