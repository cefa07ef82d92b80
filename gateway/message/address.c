/*
 * address - see the header.
 */
#include "message/address.h"

#include <idn2.h>
#include <string.h>

#include "base/error.h"
#include "base/net.h"
#include "message/header_address.h"

void
address_split(struct bytes address, struct bytes *local_r, struct bytes *domain_r)
{
    ptrdiff_t at = bytes_rindex(address, '@');

    *local_r = at < 0 ? address : bytes_sub(address, 0, (size_t)at);
    *domain_r = at < 0 ? (struct bytes){0} : bytes_sub(address, (size_t)at + 1, address.n);
}

static bool
is_name_byte(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_' || c >= 0x80;
}

bool
address_is_hostname(struct bytes name)
{
    size_t label = 0;
    bool letter = false;

    if (name.n == 0 || name.n > ADDRESS_HOSTNAME_MAX) {
        return false;
    }
    for (size_t i = 0; i < name.n; i++) {
        uint8_t c = name.p[i];

        if (c == '.') {
            if (label == 0 || name.p[i - 1] == '-') {
                return false;
            }
            label = 0;
            continue;
        }
        if (!is_name_byte(c) || ++label > ADDRESS_LABEL_MAX || (c == '-' && label == 1)) {
            return false;
        }
        letter = letter || c < '0' || c > '9';
    }
    return letter && (label > 0 || name.n > 1) && name.p[name.n - 1] != '-';
}

bool
address_is_literal(struct bytes name)
{
    struct net_addr addr;
    struct bytes prefix = BYTES_LIT("IPv6:");

    if (name.n < 3 || name.p[0] != '[' || name.p[name.n - 1] != ']') {
        return false;
    }
    struct bytes inner = bytes_sub(name, 1, name.n - 2);
    if (bytes_has_prefix_nocase(inner, prefix)) {
        inner = bytes_sub(inner, prefix.n, inner.n);
        return bytes_index(inner, ':') >= 0 && net_addr_parse(inner, &addr) == 0;
    }
    return bytes_index(inner, ':') < 0 && net_addr_parse(inner, &addr) == 0;
}

int
address_domain_to_ascii(struct bytes domain, char ascii_r[ADDRESS_HOSTNAME_MAX + 1])
{
    char text[ADDRESS_HOSTNAME_MAX + 1], *converted = NULL;
    bool ascii = true;

    ascii_r[0] = '\0';
    if (domain.n > 1 && domain.p[domain.n - 1] == '.') {
        domain.n--;
    }
    if (!address_is_hostname(domain)) {
        return GW_ERR_SYNTAX;
    }
    for (size_t i = 0; i < domain.n; i++) {
        ascii = ascii && domain.p[i] < 0x80;
    }
    memcpy(text, domain.p, domain.n);
    text[domain.n] = '\0';
    if (ascii) {
        ascii_lower((uint8_t *)text, domain.n);
        memcpy(ascii_r, text, domain.n + 1);
        return 0;
    }
    int r =
        idn2_lookup_u8((const uint8_t *)text, (uint8_t **)&converted, IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL);
    if (r == IDN2_MALLOC) {
        return GW_ERR_NOMEM;
    }
    size_t n = r == IDN2_OK ? strlen(converted) : 0;
    /* IDNA may make a full stop, or nothing, of what was no full stop: look again. */
    bool good = n > 0 && n <= ADDRESS_HOSTNAME_MAX && address_is_hostname(bytes_of(converted, n));
    if (good) {
        memcpy(ascii_r, converted, n + 1);
    }
    idn2_free(converted);
    return good ? 0 : GW_ERR_SYNTAX;
}

const char *
address_dns_name(const char *name, char ascii[ADDRESS_HOSTNAME_MAX + 1])
{
    for (const char *at = name; *at != '\0'; at++) {
        if ((uint8_t)*at >= 0x80) {
            return address_domain_to_ascii(bytes_str(name), ascii) == 0 ? ascii : name;
        }
    }
    return name;
}

static bool
is_atom_byte(uint8_t c)
{
    return c >= 0x80 || (c > 0x20 && c < 0x7f && strchr("()<>[]:;@\\,\"", c) == NULL);
}

static bool
needs_quotes(struct bytes local)
{
    if (local.n == 0 || local.p[0] == '.' || local.p[local.n - 1] == '.') {
        return true;
    }
    for (size_t i = 0; i < local.n; i++) {
        if (!is_atom_byte(local.p[i]) || (local.p[i] == '.' && local.p[i - 1] == '.')) {
            return true;
        }
    }
    return false;
}

/* No quoting makes these safe inside <>: line ends and NUL anywhere, and behind an @ anything but a host name
 * or an address in brackets. */
static bool
is_sendable(struct bytes address, struct bytes local, struct bytes domain)
{
    for (size_t i = 0; i < address.n; i++) {
        if (address.p[i] == '\r' || address.p[i] == '\n' || address.p[i] == '\0') {
            return false;
        }
    }
    if (local.n == address.n) {
        return true;
    }
    if (domain.n > 1 && domain.p[domain.n - 1] == '.') {
        domain.n--;
    }
    return address_is_literal(domain) || address_is_hostname(domain);
}

int
address_append_quoted(struct buf *out, struct bytes address)
{
    struct bytes local, domain;
    int r = 0;

    address_split(address, &local, &domain);
    if (!is_sendable(address, local, domain)) {
        return GW_ERR_SYNTAX;
    }
    if (address.n == 0 || !needs_quotes(local)) {
        return buf_append_bytes(out, address);
    }
    r = buf_append_byte(out, '"');
    for (size_t i = 0; r == 0 && i < local.n; i++) {
        if (local.p[i] == '"' || local.p[i] == '\\') {
            r = buf_append_byte(out, '\\');
        }
        r = r == 0 ? buf_append_byte(out, local.p[i]) : r;
    }
    r = r == 0 ? buf_append_byte(out, '"') : r;
    if (r == 0 && local.n < address.n) {
        r = buf_append_bytes(out, bytes_sub(address, local.n, address.n));
    }
    return r;
}

int
address_next_in_header(struct bytes *rest, struct buf *out)
{
    struct header_address place;
    size_t at = 0;
    int r = header_address_next(*rest, &at, &place, out);

    *rest = bytes_sub(*rest, r < 0 ? rest->n : at, rest->n);
    return r;
}
