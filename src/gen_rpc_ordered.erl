%% SPDX-License-Identifier: Apache-2.0
%% @hidden
%% Runner: what must be in order of one incoming connection and of one kind: ordered casts, or
%% broadcasts. Its mailbox is bounded because it tells the driver what it begins with, and the peer
%% sends no more than a window beyond that. It ends when its acceptor has ended and all is done.
-module(gen_rpc_ordered).

-behaviour(gen_server).

-export([start_link/2, run/2, refuse/2, finish/1]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).

-type kind() :: ordered | broadcast.
-type message() :: {Id :: non_neg_integer(), Body :: binary()}. % Id 0: nobody waits
-type state() :: {kind(), port()}.
-export_type([kind/0]).

%% For its acceptor. Should the runner be killed, the acceptor hears of it: nobody could tell any
%% more what of the window is free. `none': the node has as many processes as it may have.
-spec start_link(kind(), port()) -> pid() | none.
start_link(Kind, Port) ->
    try gen_server:start_link(?MODULE, {Kind, Port}, []) of
        {ok, Runner} -> Runner
    catch
        error:system_limit -> none
    end.

%% What became of messages for which there is no runner.
-spec refuse(port(), [message()]) -> ok.
refuse(Port, Messages) ->
    ok = taken(Port, Messages),
    lists:foreach(fun({0, _Body}) -> gen_rpc_worker:no_process();
                     ({Id, _Body}) -> gen_rpc_worker:refuse(Port, Id)
                  end, Messages).

-spec run(pid(), [message()]) -> ok.
run(Runner, Messages) ->
    gen_server:cast(Runner, {run, Messages}).

%% There will be no more.
-spec finish(pid()) -> ok.
finish(Runner) ->
    gen_server:cast(Runner, finish).

-spec init(state()) -> {ok, state()}.
init(State) ->
    {ok, State}.

-spec handle_call(term(), gen_server:from(), state()) -> {reply, term(), state()}.
handle_call(_Request, _From, State) ->
    gen_rpc_log:stray(call),
    {reply, {error, unknown_call}, State}.

-spec handle_cast(term(), state()) -> {noreply, state()} | {stop, normal, state()}.
handle_cast({run, Casts}, {ordered, Port} = State) ->
    lists:foreach(fun({_Id, Body}) -> run_cast(Port, Body) end, Casts),
    {noreply, State};
handle_cast({run, Broadcasts}, {broadcast, Port} = State) ->
    ok = taken(Port, Broadcasts),
    lists:foreach(fun({Id, Body}) -> deliver(Port, Id, Body) end, Broadcasts),
    {noreply, State};
handle_cast(finish, State) ->
    {stop, normal, State};
handle_cast(_Request, State) ->
    gen_rpc_log:stray(cast),
    {noreply, State}.

-spec handle_info(term(), state()) -> {noreply, state()}.
handle_info(_Message, State) ->
    gen_rpc_log:stray(message),
    {noreply, State}.

taken(Port, Messages) ->
    gen_rpc_port:taken(Port, length(Messages),
                       lists:sum([byte_size(Body) || {_Id, Body} <- Messages])).

%% In a process of its own, so that however it ends, and whatever it does to its process, the next
%% one is not affected.
run_cast(Port, Body) ->
    ok = gen_rpc_port:taken(Port, 1, byte_size(Body)),
    case gen_rpc_worker:start_monitored(cast, [Body], 'DOWN') of
        {Pid, Monitor} -> receive {'DOWN', Monitor, process, Pid, _Reason} -> ok end;
        none -> gen_rpc_worker:no_process()
    end.

deliver(Port, Id, Body) ->
    case gen_rpc_gate:open_broadcast(Body) of
        {deliver, Name, Message} ->
            answer(Port, Id, {return, gen_rpc_broadcast:deliver(Name, Message)});
        {refused, unauthorized} when Id =:= 0 ->
            ok; % the gate has said so
        {refused, Reason} when Id =:= 0 ->
            gen_rpc_log:message(#{what => "broadcast refused", reason => Reason});
        Refused ->
            answer(Port, Id, Refused)
    end.

%% It may have to wait for room: then those who don't read their answers get no more to ask.
answer(_Port, 0, _Outcome) -> ok;
answer(Port, Id, Outcome) -> gen_rpc_worker:reply(Port, Id, gen_rpc_result:encode(Outcome)).
