%% SPDX-License-Identifier: Apache-2.0
%% @hidden
%% Holds the TLS configurations of the node: certificates, keys and CAs are read once, when the
%% application starts, and a file that cannot be used stops the start.
-module(gen_rpc_tls).

-behaviour(gen_server).

-export([start_link/0, needed/0, is_loaded/1, server/0, client/1, explain/1]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2, terminate/2]).

-type loaded() :: {gen_rpc_port:tls_number(), gen_rpc_tls_options:options()}.

-record(state, {ports = [] :: [port()]}). % each holds one configuration

-type state() :: #state{}.

-spec start_link() -> gen_server:start_ret().
start_link() ->
    gen_server:start_link({local, ?MODULE}, ?MODULE, [], []).

%% The roles in which the settings let this node speak TLS. Options that are given are checked even
%% if no connection uses them yet.
-spec needed() -> [gen_rpc_tls_options:role()].
needed() ->
    [server || gen_rpc_config:get(ssl_server_port) =/= false orelse
                   gen_rpc_config:get(ssl_server_options) =/= []] ++
        [client || gen_rpc_config:uses(ssl) orelse gen_rpc_config:get(ssl_client_options) =/= []].

-spec is_loaded(gen_rpc_tls_options:role()) -> boolean().
is_loaded(Role) ->
    persistent_term:get({?MODULE, Role}, none) =/= none.

%% What makes an incoming connection one over TLS.
-spec server() -> #{tls := gen_rpc_port:tls_number()}.
server() ->
    {Number, _Options} = loaded(server),
    #{tls => Number}.

%% The same for an outgoing one to a node.
-spec client(node()) -> #{tls := gen_rpc_port:tls_number(), server_name := binary()}.
client(Node) ->
    {Number, Options} = loaded(client),
    #{tls => Number, server_name => gen_rpc_tls_options:server_name(Options, Node)}.

-spec loaded(gen_rpc_tls_options:role()) -> loaded().
loaded(Role) ->
    persistent_term:get({?MODULE, Role}).

-spec init([]) -> {ok, state()} | {stop, term()}.
init([]) ->
    _ = process_flag(trap_exit, true),
    load(needed(), #state{}).

load([Role | Rest], #state{ports = Ports} = State) ->
    Port = gen_rpc_port:open(),
    ok = gen_rpc_port:threads(Port, gen_rpc_config:handshakes()),
    Given = gen_rpc_config:get(gen_rpc_tls_options:setting(Role)),
    {ok, Options} = gen_rpc_tls_options:check(Role, Given),
    case gen_rpc_tls_options:load(Port, Role, Options) of
        {ok, Number, IsForNode} ->
            _ = IsForNode orelse warn(Role, Options),
            %% Not the password: nobody needs it any more.
            ok = persistent_term:put({?MODULE, Role}, {Number, maps:remove(password, Options)}),
            load(Rest, State#state{ports = [Port | Ports]});
        {error, Reason} ->
            ok = gen_rpc_port:close(Port),
            ok = unload(State),
            {stop, {tls, Reason}}
    end;
load([], State) ->
    {ok, State}.

%% Peers that look at certificates will refuse it. Not an error here: some may not.
warn(Role, #{certfile := File}) ->
    gen_rpc_log:warning(#{what => "certificate is not for this node",
                          setting => gen_rpc_tls_options:setting(Role),
                          node => node(), file => File}).

-spec handle_call(term(), gen_server:from(), state()) -> {reply, term(), state()}.
handle_call(_Request, _From, State) ->
    gen_rpc_log:stray(call),
    {reply, {error, unknown_call}, State}.

-spec handle_cast(term(), state()) -> {noreply, state()}.
handle_cast(_Request, State) ->
    gen_rpc_log:stray(cast),
    {noreply, State}.

-spec handle_info(term(), state()) -> {noreply, state()} | {stop, term(), state()}.
handle_info({'EXIT', Port, Reason}, #state{ports = Ports} = State) when is_port(Port) ->
    case lists:member(Port, Ports) of
        true -> {stop, {tls_port_closed, Reason}, State};
        false -> {noreply, State}
    end;
handle_info(_Message, State) ->
    gen_rpc_log:stray(message),
    {noreply, State}.

%% Connections that use a configuration keep it alive in the driver.
-spec terminate(term(), state()) -> ok.
terminate(_Reason, State) ->
    unload(State).

unload(#state{ports = Ports}) ->
    lists:foreach(fun(Role) -> persistent_term:erase({?MODULE, Role}) end, [server, client]),
    lists:foreach(fun gen_rpc_port:close/1, Ports).

%% Why TLS failed, in words.
-spec explain(atom() | {alert, atom()}) -> string().
explain({alert, Alert}) ->
    "the peer refused with the TLS alert " ++ atom_to_list(Alert);
explain(not_tls) -> "the peer does not speak TLS";
explain(protocol_version) -> "the peer speaks no version of TLS that is allowed here";
explain(no_shared_cipher) -> "the peer has no cipher suite that is allowed here";
explain(no_certificate) -> "the peer has sent no certificate";
explain(unknown_ca) -> "the peer's certificate is not signed by a CA that is trusted here";
explain(certificate_expired) -> "the peer's certificate, or one above it, has expired";
explain(certificate_not_yet_valid) ->
    "the peer's certificate, or one above it, is not valid yet";
explain(certificate_revoked) -> "the peer's certificate, or one above it, is revoked";
explain(crl_expired) -> "the revocation list in crlfile has expired";
explain(crl_invalid) -> "the revocation list in crlfile is not signed as it must be";
explain(certificate_invalid) -> "the peer's certificate is weak, malformed or for another use";
explain(chain_too_long) -> "there are too many certificates between the peer's and its CA";
explain(wrong_name) -> "the peer's certificate is not for the node that the peer should be";
explain(name_refused) -> "the peer finds that our certificate is not for this node";
explain(bad_record) -> "the peer sent a record that cannot be its own";
explain(truncated) -> "the connection ended without a close_notify";
explain(renegotiation) -> "the peer wanted to renegotiate";
explain(closed) -> "the peer closed the connection in the handshake";
explain(handshake_failed) ->
    "the handshake failed; with TLS 1.3 most likely because the peer refused our certificate".
