%% SPDX-License-Identifier: Apache-2.0
%% @hidden
%% Listener: owns the listening port and the connections that are not authenticated yet. These have
%% no process and no mailbox: the driver holds them to their handshake and its time limit, and
%% gen_rpc_half_open to their number. Each that passes gets an acceptor.
-module(gen_rpc_listener).

-behaviour(gen_server).

-export([start_link/1, port_number/0, port_number/1]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2, terminate/2]).

%% The socket of a listener before this one is closed by the VM, when it gets to it. How long to wait
%% for the address, and how often to try, ms. Without it a kill would use up all restarts at once.
-define(ADDRESS_WAIT, 1000).
-define(ADDRESS_RETRY, 20).

-record(state, {driver :: gen_rpc_config:driver(),
                port :: port(),
                number :: inet:port_number(),
                half_open :: gen_rpc_half_open:t()}).

%% What is known of a connection before it is authenticated.
-type stranger() :: #{address := {inet:ip_address(), inet:port_number()},
                       limited := boolean(), killing := boolean()}. % as the port's settings
-type state() :: #state{}.

-spec start_link(gen_rpc_config:driver()) -> gen_server:start_ret().
start_link(Driver) ->
    gen_server:start_link({local, name(Driver)}, ?MODULE, Driver, []).

%% The number of the port that is listened on.
-spec port_number() -> inet:port_number().
port_number() ->
    port_number(tcp).

-spec port_number(gen_rpc_config:driver()) -> inet:port_number().
port_number(Driver) ->
    gen_server:call(name(Driver), port_number).

name(tcp) -> gen_rpc_listener;
name(ssl) -> gen_rpc_listener_ssl.

setting(tcp) -> tcp_server_port;
setting(ssl) -> ssl_server_port.

%% The setting that the port's number comes from.
origin(Driver) ->
    case gen_rpc_config:discovers(Driver) of
        true -> port_discovery;
        false -> setting(Driver)
    end.

-spec init(gen_rpc_config:driver()) -> {ok, state()} | {stop, term()}.
init(Driver) ->
    _ = process_flag(trap_exit, true),
    Number = gen_rpc_config:get(setting(Driver)),
    Port = gen_rpc_port:open(),
    {Ip, Listening} = gen_rpc_config:listening(),
    case listen(Port, {Ip, Number}, Listening, ?ADDRESS_WAIT) of
        {ok, Actual} ->
            {ok, #state{driver = Driver, port = Port, number = Actual,
                        half_open = gen_rpc_half_open:new(gen_rpc_config:half_open())}};
        {error, Reason} ->
            {stop, {cannot_listen, [{origin(Driver), Number}, {socket_ip, Ip}], Reason}}
    end.

-spec handle_call(term(), gen_server:from(), state()) -> {reply, term(), state()}.
handle_call(port_number, _From, #state{number = Number} = State) ->
    {reply, Number, State};
handle_call(_Request, _From, State) ->
    gen_rpc_log:stray(call),
    {reply, {error, unknown_call}, State}.

-spec handle_cast(term(), state()) -> {noreply, state()}.
handle_cast(_Request, State) ->
    gen_rpc_log:stray(cast),
    {noreply, State}.

-spec handle_info(term(), state()) -> {noreply, state()} | {stop, term(), state()}.
handle_info({Port, accepted, Child, Bytes}, #state{port = Port} = State) ->
    {noreply, accepted(Child, gen_rpc_port:address(Bytes), State)};
handle_info({Child, flush}, State) when is_port(Child) ->
    %% Also from one that was just handed over; it asks only once.
    ok = gen_rpc_port:flush(Child),
    {noreply, State};
handle_info({Child, up, Peer, _Limit}, State) when is_port(Child) ->
    case take(Child, State) of
        {Stranger, Rest} ->
            ok = hand_over(Child, Stranger#{node => Peer}),
            ok = gen_rpc_dispatcher:alive(Peer),
            {noreply, Rest};
        error ->
            {noreply, State}
    end;
handle_info({Child, down, Reason}, State) when is_port(Child) ->
    {noreply, down(Child, Reason, State)};
handle_info({Port, refused, Count}, #state{port = Port} = State) ->
    gen_rpc_log:warning(#{what => "connections refused", reason => max_connections,
                          count => Count}),
    {noreply, State};
handle_info({Port, accept_error, Reason}, #state{port = Port} = State) ->
    gen_rpc_log:error(#{what => "cannot accept for the moment", reason => Reason}),
    {noreply, State};
handle_info({'EXIT', Port, Reason}, #state{port = Port} = State) ->
    {stop, {listening_port_closed, Reason}, State};
handle_info({'EXIT', Other, _Reason}, State) when is_port(Other) ->
    case take(Other, State) of
        {_Stranger, Rest} -> {noreply, Rest};
        error -> {noreply, State}
    end;
handle_info(_Message, State) ->
    gen_rpc_log:stray(message),
    {noreply, State}.

-spec terminate(term(), state()) -> ok.
terminate(_Reason, #state{port = Port, half_open = HalfOpen}) ->
    lists:foreach(fun gen_rpc_port:close/1, [Port | gen_rpc_half_open:ports(HalfOpen)]).

listen(Port, Address, Listening, Left) ->
    case gen_rpc_port:listen(Port, Address, Listening) of
        {error, eaddrinuse} when Left > 0 ->
            timer:sleep(?ADDRESS_RETRY),
            listen(Port, Address, Listening, Left - ?ADDRESS_RETRY);
        Result ->
            Result
    end.

%% Name and cookie are read now: both can change while the node runs.
accepted(Child, Address, State) ->
    case gen_rpc_config:connection(server) of
        {ok, Connection} -> let_in(Child, Address, Connection, State);
        none -> refuse(Child, Address, no_cookie), State
    end.

let_in(Child, {Ip, _} = Address, Connection, #state{half_open = HalfOpen, driver = Driver} = State) ->
    #{max_running := MaxRunning, tell_cancels := TellCancels} = Connection,
    Stranger = #{address => Address, limited => MaxRunning =/= infinity, killing => TellCancels},
    Now = added(gen_rpc_half_open:add(Child, Stranger, Ip, HalfOpen)),
    Crowd = gen_rpc_half_open:crowd(Ip, Now),
    _ = gen_rpc_port:handshake(Child, maps:merge(Connection#{crowd => Crowd}, security(Driver))),
    State#state{half_open = Now}.

added({ok, HalfOpen}) ->
    HalfOpen;
added({replaces, {Oldest, #{address := Address}}, Limit, HalfOpen}) ->
    refuse(Oldest, Address, Limit),
    HalfOpen.

-spec take(port(), state()) -> {stranger(), state()} | error.
take(Child, #state{half_open = HalfOpen} = State) ->
    case gen_rpc_half_open:take(Child, HalfOpen) of
        {Stranger, Rest} -> {Stranger, State#state{half_open = Rest}};
        error -> error
    end.

down(Child, Reason, State) ->
    case take(Child, State) of
        {#{address := Address}, Rest} ->
            refuse(Child, Address, Reason),
            Rest;
        error ->
            %% Lost while it was handed over; the acceptor finds it down when it activates it. Or we
            %% have closed it.
            IsQuiet = Reason =:= closed orelse erlang:port_info(Child, id) =:= undefined,
            Report = gen_rpc_log:reason(Reason, #{what => "incoming connection lost"}),
            _ = IsQuiet orelse gen_rpc_log:notice(Report),
            State
    end.

security(tcp) -> #{};
security(ssl) -> gen_rpc_tls:server().

hand_over(Child, Peer) ->
    case gen_rpc_acceptor_sup:start_acceptor(Child, Peer) of
        {ok, Acceptor} when is_pid(Acceptor) ->
            try port_connect(Child, Acceptor) of
                true ->
                    true = unlink(Child),
                    gen_rpc_acceptor:activate(Acceptor)
            catch
                error:badarg -> gen_rpc_acceptor:activate(Acceptor)
            end;
        _Error ->
            gen_rpc_port:close(Child)
    end.

refuse(Child, {Ip, Number}, Reason) ->
    gen_rpc_log:warning(gen_rpc_log:reason(Reason, #{what => "peer refused",
                                                     address => inet:ntoa(Ip), port => Number})),
    gen_rpc_port:close(Child).
