%% SPDX-License-Identifier: Apache-2.0
%% The reference for TLS: calls as a library over OTP's ssl makes them, with {packet, 4}. Callers
%% and workers send by themselves, since that was faster than through the processes that own the
%% sockets (256 callers: 1.3 times, 500 kB: 1.2); {active, 100} was no faster than {active, true}.
%%   packet: size of a reference in one byte, the reference, {M, F, A} or the result
-module(gen_rpc_bench_ssl).

-export([listen/1, served/0, prepare/3]).
-export([open/0, close/1, call/4, call/5]).

-type options() :: [{atom(), term()}].
-type connection() :: {Owner :: pid(), ssl:sslsocket()}.
-export_type([connection/0]).

-define(ADDRESS, {127, 0, 0, 1}).
-define(PATIENCE, 30000).
-define(SOCKET, [binary, {packet, 4}, {active, false}, {nodelay, true}]).

%%% Server

%% Serves on a free port, until the node ends.
-spec listen(options()) -> inet:port_number().
listen(Options) ->
    {ok, _} = application:ensure_all_started(ssl),
    Caller = self(),
    {Listener, Monitor} = spawn_monitor(fun() -> listener(Caller, Options) end),
    receive
        {Listener, Port} -> demonitor(Monitor, [flush]), Port;
        {'DOWN', Monitor, process, Listener, Reason} -> error(Reason)
    end.

%% How many connections it has.
-spec served() -> non_neg_integer().
served() ->
    {links, Links} = process_info(whereis(?MODULE), links),
    length([Pid || Pid <- Links, is_pid(Pid)]).

listener(Caller, Options) ->
    true = register(?MODULE, self()),
    {ok, Socket} = ssl:listen(0, ?SOCKET ++ [{ip, ?ADDRESS}, {backlog, 1024},
                                             {fail_if_no_peer_cert, true} | tls(Options)]),
    {ok, {_, Port}} = ssl:sockname(Socket),
    Caller ! {self(), Port},
    accept(Socket).

accept(Listening) ->
    {ok, Socket} = ssl:transport_accept(Listening),
    Acceptor = spawn_link(fun() -> receive go -> handshake(Socket) end end),
    ok = ssl:controlling_process(Socket, Acceptor),
    Acceptor ! go,
    accept(Listening).

handshake(Transport) ->
    {ok, Socket} = ssl:handshake(Transport, ?PATIENCE),
    ok = ssl:setopts(Socket, [{active, true}]),
    serve(Socket).

serve(Socket) ->
    receive
        {ssl, _, <<Size, Ref:Size/binary, Call/binary>>} ->
            _ = spawn(fun() -> work(Socket, Ref, Call) end),
            serve(Socket);
        {ssl_closed, _} ->
            ok
    end.

work(Socket, Ref, Call) ->
    {M, F, A} = binary_to_term(Call),
    ok = send(Socket, Ref, apply(M, F, A)).

send(Socket, Ref, Term) ->
    ssl:send(Socket, [byte_size(Ref), Ref | term_to_iovec(Term)]).

%%% Client

%% From now on connections are to this port with these options, and resume the session of the first
%% one or none. call/4 uses that first one.
-spec prepare(inet:port_number(), Resume :: boolean(), options()) -> ok.
prepare(Port, Resume, Options) ->
    {ok, _} = application:ensure_all_started(ssl),
    First = open(Port, [{reuse_sessions, Resume andalso save} | Options]),
    Others = case Resume of
                 true -> [{reuse_session, session(First)} | Options];
                 false -> [{reuse_sessions, false} | Options]
             end,
    ok = persistent_term:put({?MODULE, server}, {Port, Others, Resume}),
    persistent_term:put({?MODULE, shared}, First).

%% A connection with a process that owns it.
-spec open() -> connection().
open() ->
    {Port, Options, _Resume} = persistent_term:get({?MODULE, server}),
    open(Port, Options).

open(Port, Options) ->
    Caller = self(),
    {Owner, Monitor} = spawn_monitor(fun() -> owner(Caller, Port, Options) end),
    receive
        {Owner, Socket} -> demonitor(Monitor, [flush]), {Owner, Socket};
        {'DOWN', Monitor, process, Owner, Reason} -> error(Reason)
    end.

%% It is an error when its session was not resumed as wanted, or was.
-spec close(connection()) -> ok.
close({Owner, _} = Connection) ->
    {_, _, Resume} = persistent_term:get({?MODULE, server}),
    %% OTP 25 says {session_resumption, false} of each session of TLS 1.2.
    Resume = session(Connection) =:= session(persistent_term:get({?MODULE, shared})),
    Monitor = monitor(process, Owner),
    Owner ! close,
    receive {'DOWN', Monitor, process, Owner, normal} -> ok end.

session({_Owner, Socket}) ->
    {ok, [{session_id, Session}]} = ssl:connection_information(Socket, [session_id]),
    Session.

owner(Caller, Port, Options) ->
    {ok, Socket} = ssl:connect(?ADDRESS, Port, ?SOCKET ++ tls(Options), ?PATIENCE),
    ok = ssl:setopts(Socket, [{active, true}]),
    Caller ! {self(), Socket},
    route(Socket).

%% A reference is an alias of its caller, so no table is needed.
route(Socket) ->
    receive
        {ssl, _, <<Size, Ref:Size/binary, Result/binary>>} ->
            Alias = binary_to_term(Ref),
            Alias ! {Alias, Result},
            route(Socket);
        close ->
            ssl:close(Socket)
    end.

-spec call(module(), atom(), [term()], timeout()) -> term().
call(M, F, A, Timeout) ->
    call(persistent_term:get({?MODULE, shared}), M, F, A, Timeout).

-spec call(connection(), module(), atom(), [term()], timeout()) -> term().
call({Owner, Socket}, M, F, A, Timeout) ->
    Ref = monitor(process, Owner, [{alias, reply_demonitor}]),
    ok = send(Socket, term_to_binary(Ref), {M, F, A}),
    receive
        {Ref, Result} -> binary_to_term(Result);
        {'DOWN', Ref, process, Owner, Reason} -> error(Reason)
    after Timeout ->
            error(timeout)
    end.

%% The names of the nodes are not those of hosts.
tls(Options) ->
    [{verify, verify_peer}, {server_name_indication, disable}, {eccs, [x25519, secp256r1]}
    | Options].
