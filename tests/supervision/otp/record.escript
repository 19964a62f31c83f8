#!/usr/bin/env escript
%% Runs scenarios in real OTP supervisors and says what could be observed.
%%
%% Standard input holds one Erlang term a line, {Index, Period, Root, Operations}, as
%% record.py writes it; for each there is one line of output: the index, and for the
%% start, each operation and the final stop "<what happened>|<who lives>|<reply>",
%% separated by tabs. "+x": x starts, "!x": its start fails, "-x": it is stopped,
%% "^s": supervisor s has reached its maximum restart intensity.
-module(record).
-mode(compile).
-export([main/1, init/1, start_worker/4, start_supervisor/3]).
-export([handle_call/3, handle_cast/2, handle_info/2, terminate/2]).

-define(AT_ONCE, 40).

main(_) ->
    logger:remove_handler(default),
    logger:add_primary_filter(give_up, {fun give_up/2, none}),
    read(0).

read(Running) when Running >= ?AT_ONCE -> read(collect(Running));
read(Running) ->
    case io:get_line("") of
        eof -> finish(Running);
        Line ->
            {ok, Tokens, _} = erl_scan:string(Line),
            {ok, Scenario} = erl_parse:parse_term(Tokens),
            Main = self(),
            spawn_link(fun() -> Main ! {done, run(Scenario)} end),
            read(Running + 1)
    end.

finish(0) -> ok;
finish(Running) -> finish(collect(Running)).

collect(Running) ->
    receive {done, {Index, Steps}} ->
        io:put_chars([integer_to_list(Index), [["\t", S] || S <- Steps], "\n"]),
        Running - 1
    end.

%% -- one scenario -----------------------------------------------------------------

run({Index, Period, Root, Operations}) ->
    process_flag(trap_exit, true),
    World = ets:new(world, [public, ordered_set]),
    case start_root(World, Period, Root) of
        {ok, Pid} ->
            First = step(World, ""),
            {Index, [First | play(World, Pid, Operations)]};
        {error, _} -> {Index, [step(World, "")]}
    end.

start_root(World, Period, {supervisor, Name, _, _, Options, Children}) ->
    start_supervisor(World, Name, {Period, Options, Children}).

play(World, Root, []) ->
    exit(Root, shutdown),
    receive {'EXIT', Root, _} -> ok end,
    [step(World, "")];
play(World, Root, [Operation | Rest]) ->
    Reply = perform(World, Operation),
    settle(Root),
    Step = step(World, Reply),
    case is_process_alive(Root) of
        true -> [Step | play(World, Root, Rest)];
        false -> [Step]
    end.

%% What happened since the last step, and who lives.
step(World, Reply) ->
    Events = [E || [_, E] <- lists:sort(ets:match(World, {{event, '$1'}, '$2'}))],
    ets:match_delete(World, {{event, '_'}, '_'}),
    Living = [atom_to_list(N) || [N, P] <- ets:match(World, {{pid, '$1'}, '$2'}),
                                 is_process_alive(P)],
    [lists:join(" ", Events), "|", lists:join(" ", lists:sort(Living)), "|", Reply].

perform(_, pause) -> timer:sleep(2100), "";
perform(World, {exits, Supervisor, Exits}) ->
    with(World, Supervisor, fun(Pid) ->
        sys:suspend(Pid, infinity),
        [exit_child(World, Pid, Name, How) || {Name, How} <- Exits],
        sys:resume(Pid, infinity),
        ""
    end);
perform(World, {terminate, Supervisor, Name}) ->
    with(World, Supervisor, fun(Pid) -> said(supervisor:terminate_child(Pid, Name)) end);
perform(World, {restart, Supervisor, Name}) ->
    with(World, Supervisor, fun(Pid) -> said(supervisor:restart_child(Pid, Name)) end);
perform(World, {delete, Supervisor, Name}) ->
    with(World, Supervisor, fun(Pid) -> said(supervisor:delete_child(Pid, Name)) end);
perform(World, {add, Supervisor, Child}) ->
    with(World, Supervisor, fun(Pid) ->
        said(supervisor:start_child(Pid, spec(World, none, Child)))
    end).

with(World, Name, Do) ->
    case living(World, Name) of
        none -> "nobody";
        Pid -> Do(Pid)
    end.

living(World, Name) ->
    case ets:lookup(World, {pid, Name}) of
        [{_, Pid}] -> case is_process_alive(Pid) of true -> Pid; false -> none end;
        [] -> none
    end.

exit_child(World, Supervisor, Name, How) ->
    case living(World, Name) of
        none -> ok;
        Pid -> gen_server:cast(Pid, {exit, How}), await_exit(Supervisor, Pid)
    end.

%% Until the suspended supervisor has the exit in its mailbox: nothing else promises
%% that it gets several in the order in which they happened, and before it goes on.
await_exit(Supervisor, Pid) ->
    {messages, Messages} = process_info(Supervisor, messages),
    case [exit || {'EXIT', From, _} <- Messages, From =:= Pid] of
        [exit] -> ok;
        [] -> erlang:yield(), await_exit(Supervisor, Pid)
    end.

said(ok) -> "ok";
said({ok, _}) -> "ok";
said({error, running}) -> "running";
said({error, {already_started, _}}) -> "running";
said({error, not_found}) -> "not_found";
said({error, already_present}) -> "down";
said({error, {bad_combination, _}}) -> "invalid";
said({error, _}) -> "failed".

%% Settled: every child a supervisor takes for living lives, and none is restarting. As
%% it answers in its turn, it has done all it had to; and as it is asked before those
%% below it, they cannot have ended since without being found dead.
settle(Root) ->
    case not is_process_alive(Root) orelse settled(Root) of
        true -> ok;
        false -> erlang:yield(), settle(Root)
    end.

settled(Pid) ->
    try lists:all(fun settled_child/1, supervisor:which_children(Pid))
    catch exit:_ -> false
    end.

settled_child({_, undefined, _, _}) -> true;
settled_child({_, restarting, _, _}) -> false;
settled_child({_, Pid, worker, _}) -> is_process_alive(Pid);
settled_child({_, Pid, supervisor, _}) -> is_process_alive(Pid) andalso settled(Pid).

%% -- supervisors and workers --------------------------------------------------------

emit(World, Mark, Name) ->
    Event = [Mark, atom_to_list(Name)],
    ets:insert(World, {{event, erlang:unique_integer([monotonic])}, Event}).

spec(World, _, {worker, Name, Restart, Significant, Fails}) ->
    #{id => Name, restart => Restart, significant => Significant, shutdown => infinity,
      start => {?MODULE, start_worker, [World, Name, Fails, none]}};
spec(World, Period, {supervisor, Name, Restart, Significant, Options, Children}) ->
    #{id => Name, restart => Restart, significant => Significant, shutdown => infinity,
      type => supervisor,
      start => {?MODULE, start_supervisor, [World, Name, {Period, Options, Children}]}}.

start_worker(World, Name, Fails, _) ->
    gen_server:start_link(?MODULE, {worker, World, Name, Fails}, []).

%% Before OTP 26 one whose start has failed says so first, and ends a moment later; until
%% then it would be among the living. Workers are that only once they have started.
start_supervisor(World, Name, Spec) ->
    case supervisor:start_link(?MODULE, {supervisor, World, Name, Spec}) of
        {ok, Pid} -> {ok, Pid};
        {error, Reason} ->
            [{_, Pid}] = ets:lookup(World, {pid, Name}),
            Monitor = monitor(process, Pid),
            receive {'DOWN', Monitor, _, _, _} -> {error, Reason} end
    end.

init({supervisor, World, Name, {Period, {Strategy, Auto, Intensity}, Children}}) ->
    put(me, {World, Name}),
    ets:insert(World, {{pid, Name}, self()}),
    emit(World, "+", Name),
    Flags = #{strategy => Strategy, auto_shutdown => Auto, intensity => Intensity,
              period => Period},
    {ok, {Flags, [spec(World, Period, Child) || Child <- Children]}};
init({worker, World, Name, Fails}) ->
    process_flag(trap_exit, true),
    Start = ets:update_counter(World, {starts, Name}, 1, {{starts, Name}, 0}),
    case lists:member(Start, Fails) of
        true -> emit(World, "!", Name), {stop, failed};
        false ->
            ets:insert(World, {{pid, Name}, self()}),
            emit(World, "+", Name),
            {ok, {World, Name}}
    end.

handle_call(_, _, State) -> {reply, ok, State}.
handle_cast({exit, How}, State) -> put(by_itself, true), {stop, How, State}.
handle_info(_, State) -> {noreply, State}.

terminate(_, {World, Name}) ->
    case get(by_itself) of
        true -> ok;
        undefined -> emit(World, "-", Name)
    end.

%% Runs in the process that logs, which is the supervisor.
give_up(#{msg := {report, #{label := {supervisor, _}, report := Report}}}, _) ->
    case lists:keyfind(reason, 1, Report) of
        {reason, reached_max_restart_intensity} ->
            {World, Name} = get(me),
            emit(World, "^", Name);
        _ -> ok
    end,
    stop;
give_up(_, _) -> stop.
