/* SPDX-License-Identifier: BSD-3-Clause */
/* Keys of frames: what counts as a tag, which tag counts, what is too short. One test a row. */
#include "frame/key.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>

#define DESTINATION UINT64_C(0x525400000a01)
#define MACS "\x52\x54\x00\x00\x0a\x01\x52\x54\x00\x00\x0b\x02"

struct frame_case {
	const char *name;
	const char *bytes; /* after the two addresses */
	uint32_t length;   /* of the whole frame */
	bool malformed;
	uint16_t vlan;
};

static struct frame_case cases[] = {
	{ "untagged", "\x08\x00\x45\x00", 16, false, VLAN_UNTAGGED },
	{ "untagged, header only", "\x08\x00", 14, false, VLAN_UNTAGGED },
	{ "802.1Q", "\x81\x00\x00\x0a\x08\x00", 18, false, 10 },
	{ "802.1ad", "\x88\xa8\x00\x0a\x08\x00", 18, false, 10 },
	{ "802.1Q, highest id", "\x81\x00\x0f\xfe\x08\x00", 18, false, 4094 },
	{ "802.1Q, priority and DEI are no part of the id", "\x81\x00\xf0\x0a\x08\x00", 18, false, 10 },
	{ "priority tag", "\x81\x00\xe0\x00\x08\x00", 18, false, VLAN_UNTAGGED },
	{ "802.1ad priority tag", "\x88\xa8\xe0\x00\x08\x00", 18, false, VLAN_UNTAGGED },
	{ "reserved id 4095", "\x81\x00\x0f\xff\x08\x00", 18, false, 4095 },
	{ "4095 with all bits", "\x81\x00\xff\xff\x08\x00", 18, false, 4095 },
	{ "802.1ad around 802.1Q: the outer id", "\x88\xa8\x00\x64\x81\x00\x00\x0a\x08\x00", 22, false, 100 },
	{ "802.1Q around 802.1Q: the outer id", "\x81\x00\x00\x64\x81\x00\x00\x0a\x08\x00", 22, false, 100 },
	{ "priority tag around 802.1Q: untagged", "\x81\x00\x00\x00\x81\x00\x00\x0a\x08\x00", 22, false, 0 },
	{ "0x9100 is no tag", "\x91\x00\x00\x0a\x08\x00", 18, false, VLAN_UNTAGGED },
	{ "0x8101 is no tag", "\x81\x01\x00\x0a\x08\x00", 18, false, VLAN_UNTAGGED },
	{ "0x88a9 is no tag", "\x88\xa9\x00\x0a\x08\x00", 18, false, VLAN_UNTAGGED },
	{ "802.3 length field", "\x00\x2e\x42\x42", 16, false, VLAN_UNTAGGED },
	{ "empty", "", 0, true, 0 },
	{ "one octet", "", 1, true, 0 },
	{ "destination only", "", 6, true, 0 },
	{ "addresses only", "", 12, true, 0 },
	{ "half an EtherType", "\x08", 13, true, 0 },
	{ "802.1Q, tag cut off", "\x81\x00", 14, true, 0 },
	{ "802.1Q, half an id", "\x81\x00\x00", 15, true, 0 },
	{ "802.1Q, no inner EtherType", "\x81\x00\x00\x0a", 16, true, 0 },
	{ "802.1Q, half an inner EtherType", "\x81\x00\x00\x0a\x08", 17, true, 0 },
	{ "802.1ad, half an inner EtherType", "\x88\xa8\x00\x0a\x08", 17, true, 0 },
};

static void
key_of_frame(void **state)
{
	const struct frame_case *row = *state;
	uint8_t *frame = malloc(row->length + 1); /* exactly the frame, so that a sanitizer sees a read beyond it */
	uint8_t *bytes = frame + 1;               /* and odd, as headers may lie */
	uint64_t key;

	for (uint32_t i = 0; i < row->length; i++)
		bytes[i] = (uint8_t)(i < 12 ? MACS[i] : row->bytes[i - 12]);
	key = frame_key(bytes, row->length);
	free(frame);
	if (row->malformed) {
		assert_true(key == FRAME_KEY_MALFORMED);
		return;
	}
	assert_true(frame_key_mac(key) == DESTINATION);
	assert_int_equal(frame_key_vlan(key), row->vlan);
	assert_true(key == frame_key_of(DESTINATION, row->vlan));
}

/* It has no filter, and it is a frame all the same: the default queue takes it. */
static void
all_zero_destination_is_whole(void **state)
{
	static const uint8_t bytes[FRAME_HEADER_BYTES + FRAME_TAG_BYTES] = { [12] = 0x08 };
	static const uint8_t tagged[FRAME_HEADER_BYTES + FRAME_TAG_BYTES] = { [12] = 0x81, [16] = 0x08 };

	(void)state;
	assert_true(frame_key(bytes, sizeof(bytes)) == frame_key_of(0, VLAN_UNTAGGED));
	assert_true(frame_key(tagged, sizeof(tagged)) == frame_key_of(0, VLAN_UNTAGGED));
	assert_true(frame_key(bytes, sizeof(bytes)) != FRAME_KEY_MALFORMED);
}

int
main(void)
{
	struct CMUnitTest tests[sizeof(cases) / sizeof(cases[0]) + 1] = { 0 };

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		tests[i].name = cases[i].name;
		tests[i].test_func = key_of_frame;
		tests[i].initial_state = &cases[i];
	}
	tests[sizeof(cases) / sizeof(cases[0])] = (struct CMUnitTest)cmocka_unit_test(all_zero_destination_is_whole);
	return cmocka_run_group_tests_name("frame", tests, NULL, NULL);
}
