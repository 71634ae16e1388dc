package tsocket_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// cNames is what a program in C may use of the library.
var cNames = strings.Fields(`
	tsocket_address_string tsocket_address_copy tsocket_address_is_inet tsocket_address_is_unix
	tsocket_address_inet_from_strings tsocket_address_inet_from_hostport_strings
	tsocket_address_inet_addr_string tsocket_address_inet_port tsocket_address_inet_set_port
	tsocket_address_unix_from_path tsocket_address_unix_path
	tsocket_address_bsd_from_sockaddr tsocket_address_bsd_from_samba_sockaddr tsocket_address_bsd_sockaddr
	tdgram_context tdgram_recvfrom_send tdgram_recvfrom_recv tdgram_sendto_send tdgram_sendto_recv
	tdgram_disconnect_send tdgram_disconnect_recv tdgram_inet_udp_socket tdgram_inet_udp_broadcast_socket
	tdgram_unix_socket tdgram_bsd_existing_socket tdgram_bsd_optimize_recvfrom
	tstream_context tstream_context_create tstream_context_data tstream_pending_bytes
	tstream_readv_send tstream_readv_recv tstream_writev_send tstream_writev_recv
	tstream_disconnect_send tstream_disconnect_recv tstream_monitor_send tstream_monitor_recv
	tstream_bsd_existing_socket tstream_bsd_optimize_readv tstream_bsd_fail_readv_first_error
	tstream_inet_tcp_connect_send tstream_inet_tcp_connect_recv tstream_unix_connect_send tstream_unix_connect_recv
	tstream_unix_socketpair
	tstream_readv_pdu_next_vector_t tstream_readv_pdu_send tstream_readv_pdu_recv
	tstream_readv_pdu_queue_send tstream_readv_pdu_queue_recv tstream_writev_queue_send tstream_writev_queue_recv
	tdgram_sendto_queue_send tdgram_sendto_queue_recv tstream_read_pdu_blob_send tstream_read_pdu_blob_recv
	tstream_full_request_u16 tstream_full_request_u32 tstream_u32_read_send tstream_u32_read_recv
	tstream_read_packet_send tstream_read_packet_recv
	tevent_queue_create tevent_queue_add tevent_queue_add_entry tevent_queue_add_optimize_empty tevent_queue_start
	tevent_queue_stop tevent_queue_length tevent_queue_running tevent_queue_wait_send tevent_queue_wait_recv
	tevent_req_create tevent_req_set_callback tevent_req_poll tevent_req_is_in_progress tevent_req_set_endtime
	tevent_req_cancel tevent_context_init tevent_loop_wait tevent_add_fd tevent_add_timer tevent_schedule_immediate
	tstream_tls_connect_send tstream_tls_connect_recv tstream_tls_accept_send tstream_tls_accept_recv
	tstream_tls_params_client tstream_tls_params_server tstream_tls_channel_bindings
	tstream_npa_connect_send tstream_npa_connect_recv tstream_npa_accept_existing_send
	tstream_npa_accept_existing_recv tstream_npa_existing_socket tstream_npa_existing_stream`)

// TestTable: the table of the package documentation has every function of C, and
// what stands beside them exists.
func TestTable(t *testing.T) {
	f, err := parser.ParseFile(token.NewFileSet(), "doc.go", nil, parser.ParseComments)
	require.NoError(t, err)
	have := exported(t, ".", "")
	maps.Copy(have, exported(t, "tlsstream", "tlsstream."))
	maps.Copy(have, exported(t, "npa", "npa."))
	listed := make(map[string]bool)
	goName := regexp.MustCompile(`\b(?:tlsstream\.|npa\.)?[A-Z]\w+(?:\.[A-Z]\w+)?`)
	for _, line := range strings.Split(f.Doc.Text(), "\n") {
		if !strings.HasPrefix(line, "\t") {
			continue
		}
		left, right, _ := strings.Cut(strings.TrimSpace(line), "  ")
		for _, name := range strings.FieldsFunc(left, func(r rune) bool { return r == ',' || r == ' ' }) {
			listed[name] = true
		}
		if send, ok := strings.CutSuffix(left, ", _recv"); ok {
			listed[strings.TrimSuffix(send, "_send")+"_recv"] = true
		}
		for _, name := range goName.FindAllString(right, -1) {
			assert.True(t, have[name] || name == "NULL", "%s stands beside %s and does not exist", name, left)
		}
	}
	for _, name := range cNames {
		assert.True(t, listed[name], "%s is not in the table", name)
	}
	assert.Greater(t, len(listed), len(cNames))
}

// exported returns the names of a package's exported functions, types and
// methods, these as Type.Method.
func exported(t *testing.T, dir, prefix string) map[string]bool {
	names := make(map[string]bool)
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	require.NoError(t, err)
	for _, path := range files {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		src, err := os.ReadFile(path)
		require.NoError(t, err)
		f, err := parser.ParseFile(token.NewFileSet(), path, src, 0)
		require.NoError(t, err)
		for _, d := range f.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				name := d.Name.Name
				if d.Recv != nil {
					name = receiver(d.Recv.List[0].Type) + "." + name
				}
				names[prefix+name] = true
			case *ast.GenDecl:
				for _, s := range d.Specs {
					if ts, ok := s.(*ast.TypeSpec); ok {
						names[prefix+ts.Name.Name] = true
					}
				}
			}
		}
	}
	return names
}

func receiver(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.StarExpr:
		return receiver(e.X)
	case *ast.IndexExpr:
		return receiver(e.X)
	case *ast.Ident:
		return e.Name
	}
	return ""
}
